"""Tests of finetune.tasks."""
