"""Text to ids: WordPiece, byte-level BPE, SentencePiece."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())
