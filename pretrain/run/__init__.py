"""The run folder: checkpoints, status, logs, curves, and models that leave it."""
