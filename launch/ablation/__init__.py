"""Grids of runs, and the tables that they become."""
