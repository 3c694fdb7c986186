"""The report of an ablation: its `Results` become a `Table`, which every format and plot shows."""
