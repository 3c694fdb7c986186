"""Fine-tune an encoder: `deepspeed launch/finetune.py --config finetune/tweets.yaml model=RUN`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin(notices=True)

from configs.finetune_schema import FinetuneConfig
from launch.command import config_parser, read_and_join, run


def main() -> None:
    """Read the configuration, join the other ranks, train every trial, report."""
    purpose = "Fine-tune an encoder on a task, or run its classical rivals (model=classical)."
    parser = config_parser("finetune.py", purpose, FinetuneConfig)
    config, ranks = read_and_join(parser, FinetuneConfig)

    from finetune.baselines.rivals import compare_rivals, find_rivals
    from finetune.training.run_trials import finetune
    from pretrain.ranks import world
    from pretrain.ranks.agreement import failing_together

    with failing_together(ranks):
        rivals = find_rivals(config.model)
    if rivals:
        compare_rivals(rivals, config, ranks)
    else:
        finetune(config, ranks)
    world.stop()


if __name__ == "__main__":
    run(main)
