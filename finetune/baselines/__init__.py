"""The classical rivals."""
