"""DeepSpeed, the loop, checkpoints, evaluation and logs."""
