"""Train the tokenizer and build the token store of a configuration, without training a model."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # a script's own folder would hide the package of the same name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.schema import PretrainConfig
from launch.command import config_parser, read_config, run


def main() -> None:
    """Prepare the corpus and report on its tokenizer and on all four input formats."""
    parser = config_parser("prepare.py", "Prepare tokenizer and token store.", PretrainConfig)
    config = read_config(parser.parse_intermixed_args(), PretrainConfig)

    from pretrain.data.prepare import prepare
    from pretrain.data.report import corpus_report
    from pretrain.data.store import verify

    corpus = prepare(config)
    verify(corpus.folder)
    print(f"store      {corpus.folder}")
    print(corpus_report(corpus, config))


if __name__ == "__main__":
    run(main)
