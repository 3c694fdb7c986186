"""What a person types: scripts that parse and call. The work is in packages, by subject."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())
