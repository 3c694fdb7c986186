"""Tests of pretrain.optim."""
