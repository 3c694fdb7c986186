"""Trials: from a configuration by way of the loop to the best model and the report."""
