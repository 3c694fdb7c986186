"""Text to ids: WordPiece, byte-level BPE, SentencePiece."""
