"""What can be chosen: the schema, its loader, and every YAML."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())
