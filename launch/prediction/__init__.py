"""Answers to new texts: what is read, and how answers are shown and written."""
