"""Train the tokenizer and build the token store of a configuration, without training a model."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin()

from configs.checks import require
from configs.schema import PretrainConfig
from configs.system.safe_text import visible
from launch.command import config_parser, read_config, run


def main() -> None:
    """Prepare the corpus, or one shard of it, or join the shards; report on what came out."""
    purpose = (
        "Prepare tokenizer and token store: alone, or in N jobs that share data.cache, each with "
        "--shard I --num-shards N, and then once with --num-shards N alone."
    )
    parser = config_parser("prepare.py", purpose, PretrainConfig)
    parser.add_argument("--shard", type=int, metavar="I", help="make this share, 0 to N - 1")
    parser.add_argument("--num-shards", type=int, metavar="N", help="how many jobs share the work")
    arguments = parser.parse_intermixed_args()
    config = read_config(arguments, PretrainConfig)
    check_shard(arguments.shard, arguments.num_shards)

    from pretrain.data.corpus import merge_shards, prepare_shard, prepare_store
    from pretrain.data.corpus_report import corpus_report
    from pretrain.data.verification import verify

    shard, shards = arguments.shard, arguments.num_shards
    if shard is not None:
        print(f"shard      {shard} of {shards}: {prepare_shard(config, shard, shards)}")
        return
    store = merge_shards(config, shards) if shards else prepare_store(config)
    verify(store, config.data, mode="always")
    print(f"store      {visible(store)}")
    print(corpus_report(store, config))


def check_shard(shard: int | None, shards: int | None) -> None:
    """Raise `InputError` for a share that does not exist."""
    if shards is None:
        require(shard is None, f"--shard {shard}: of how many? add --num-shards N")
        return
    require(shards >= 1, f"--num-shards {shards} must be at least 1")
    require(
        shard is None or 0 <= shard < shards,
        f"--shard {shard} must lie between 0 and {shards - 1}, as --num-shards is {shards}",
    )


if __name__ == "__main__":
    run(main)
