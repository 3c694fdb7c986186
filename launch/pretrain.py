"""Pretrain an encoder: `deepspeed launch/pretrain.py --config roberta_small.yaml`."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:
    import as_script

    as_script.begin(notices=True)

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
