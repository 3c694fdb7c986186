"""Encoder to task. Imports from `pretrain`, never the other way round.

Each folder imports only from those before it:

    scoring/    metrics
    data/       files -> labelled examples: reading, cleaning, splits, duplicates
    tasks/      examples -> features; logits -> answers and their scores
    model/      encoder and head: batches, losses, the folder on disk, answers to new text, export
    report/     what a person reads about results; the scores that methods are compared by
    baselines/  the classical rivals
    explore/    the report on a task's data
    training/   trials, from the configuration to the best model
"""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())
