"""Jobs for SLURM: templates, and what fills them."""
