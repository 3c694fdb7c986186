"""An encoder with a task's head: batches, losses, its folder, answers for new text, export."""
