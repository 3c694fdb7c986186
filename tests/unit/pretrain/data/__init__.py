"""Tests of pretrain.data."""
