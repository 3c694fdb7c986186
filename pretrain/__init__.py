"""Ids to a pretrained encoder."""
