"""Look at one step again, sample by sample: `python launch/replay.py --run runs/x --step 123`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin()

from launch.command import run

PURPOSE = "Loss and gradient norm of every sample of a step, for steps that were skipped."


def main() -> None:
    """Print a line for each sample, the suspicious ones first."""
    parser = argparse.ArgumentParser(prog="replay.py", description=PURPOSE)
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="run folder")
    parser.add_argument("--step", type=int, required=True, help="as in the log or a dump's name")
    parser.add_argument("--top", type=int, default=10, help="how many samples to print")
    arguments = parser.parse_args()

    import math

    from configs.system.safe_text import visible
    from pretrain.engine.replay import replay

    replayed = replay(arguments.run, arguments.step)
    print(f"step {arguments.step} with the weights of {visible(replayed.checkpoint)}")
    print(f"{'sample':>9}{'tokens':>8}{'loss':>10}{'gradient norm':>15}  text")
    samples = sorted(
        replayed.samples,
        key=lambda s: (math.isfinite(s.gradient_norm), -s.gradient_norm),
    )
    for sample in samples[: arguments.top]:
        text = visible(" ".join(sample.text.split())[:60])
        print(
            f"{sample.number:>9}{sample.tokens:>8}{sample.loss:>10.3f}"
            f"{sample.gradient_norm:>15.3f}  {text}"
        )
    bad = sum(not math.isfinite(s.gradient_norm) for s in samples)
    print(f"{len(samples)} samples, {bad} of them without a finite gradient")


if __name__ == "__main__":
    run(main)
