"""Ablations: a grid of runs that differ in what is studied, and the table that they become.

From a YAML file to a table, in the order of the modules:

    configs/ablation_schema  axes and their choices, seeds, tasks, metrics
    grid                     a *row*: one choice of every axis, and the recipe that it makes;
                             the *grid*: every row with every seed, and its *runs*
    budget, compute          rows that train on equally many tokens, FLOPs, minutes or bytes
    preconditions, estimate  what would fail later is refused now; one precision; --dry-run
    launcher                 trains the runs that are left: here, or as jobs of a cluster
    comparability            the *outcome* of a run; runs that do not compare are refused
    measure                  its *measurements*: all of them are the *results*
    report                   the *table* of the results: a *table cell* for each row and metric
    report/transfer          whether the ranking of one table is that of another scale

A *run* is one row with one pretraining seed: the pretraining itself, or the fine-tuning of its
encoder on one task, or, for a rival, a classical method on that task. Each is an ordinary run
folder, so the table's figures can be traced to what was trained. A *trial* is one of the trainings
that a fine-tuning run consists of, as in `finetune`.
"""
