"""Tests of finetune.report."""
