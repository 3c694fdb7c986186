"""Tests of pretrain."""
