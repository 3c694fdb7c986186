"""Tests of pretrain.model."""
