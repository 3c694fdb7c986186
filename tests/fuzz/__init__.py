"""Malformed input of every kind, and the command that feeds it to the launch scripts."""
