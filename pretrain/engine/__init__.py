"""DeepSpeed, the loop and evaluation."""
