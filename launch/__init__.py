"""What a person types. Every script puts the project's root first on `sys.path`."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())
