"""Races against other code, side by side in one run."""
