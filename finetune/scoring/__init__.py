"""Metrics, and the scores that methods are compared by."""
