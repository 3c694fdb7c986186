"""Encoder to task. Imports from `pretrain`, never the other way round."""
