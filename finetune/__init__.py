"""Encoder to task. Imports from `pretrain`, never the other way round."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())
