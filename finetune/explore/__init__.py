"""A task's data before anything is learnt from it."""
