"""Labelled examples: tables, cleaning, splits, duplicates."""
