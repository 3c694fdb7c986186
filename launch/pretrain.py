"""Pretrain an encoder: `deepspeed launch/pretrain.py --config roberta_small.yaml`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin(notices=True)

from configs.schema import PretrainConfig
from launch.command import config_parser, read_and_join, run


def main() -> None:
    """Read the configuration, join the other ranks, train."""
    parser = config_parser("pretrain.py", "Pretrain an encoder from scratch.", PretrainConfig)
    config, ranks = read_and_join(parser, PretrainConfig)

    from pretrain.engine.train import pretrain
    from pretrain.ranks import world

    pretrain(config, ranks)
    world.stop()


if __name__ == "__main__":
    run(main)
