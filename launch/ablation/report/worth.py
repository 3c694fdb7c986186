"""What a row is worth in compute: how much more of it the baseline needs for the same loss.

Of two rows, the one that ends higher sets the loss, which both have reached: FLOPs of the baseline
up to there by FLOPs of the row, seed by seed. Nothing is said beyond what was measured: not of a
loss that one of them had at its first evaluation already, and of none on the plateau. A row that
ends lower is cut in the middle of its schedule by this, where it has yet to decay: its worth is
a cautious figure.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from launch.ablation.measurements import Results
from launch.ablation.report.confounders import refusal
from launch.ablation.report.curves import Curve, curve_metric, read_curve

Curves = Mapping[tuple[str, int], Curve]
"""by row and seed"""


def flops_to_reach(curve: Curve, loss: float) -> float | None:
    """FLOPs up to which the held-out loss first was as low, in a line between two evaluations of
    its logarithm; None where it never was, at the first evaluation already, or on
    the plateau."""
    lowest = np.minimum.accumulate(curve.values)
    (reached,) = np.nonzero(lowest <= loss)
    (spent,) = np.nonzero(curve.flops > 0)
    if not len(reached) or not len(spent) or reached[0] <= spent[0]:
        return None
    at = reached[0]
    if curve.tokens[at] < curve.left_at:
        return None
    losses, flops = lowest[at - 1 : at + 1], np.log(curve.flops[at - 1 : at + 1])
    return float(np.exp(np.interp(-loss, -losses, flops)))


def worth(row: Curve, baseline: Curve) -> float | None:
    """How many times the row's compute the baseline needs for the same loss; None: not measured."""
    loss = max(row.values.min(), baseline.values.min())
    own, other = flops_to_reach(row, loss), flops_to_reach(baseline, loss)
    return other / own if own and other else None


def worths(results: Results) -> tuple[str, ...]:
    """A sentence for each row but the baseline that has held-out curves."""
    metric = curve_metric(results)
    curves = {
        key: curve
        for key, folder in results.pretraining_runs.items()
        if (curve := read_curve(folder, metric)) and curve.flops.any()
    }
    baseline = next(row for row in results.rows if row.name == results.baseline)
    return tuple(
        f"{row.name}: {refusal(metric, row, baseline) or sentence(curves, row.name, baseline.name)}"
        for row in results.rows
        if row is not baseline and any(name == row.name for name, _ in curves)
    )


def sentence(curves: Curves, row: str, baseline: str) -> str:
    """The median over seeds that both rows have, and the range."""
    own = {seed: curve for (name, seed), curve in curves.items() if name == row}
    pairs = [(curve, curves.get((baseline, seed))) for seed, curve in own.items()]
    known = [times for curve, other in pairs if other and (times := worth(curve, other))]
    if not known:
        return "no answer: the losses that were measured have no common range"
    middle = f"worth {np.median(known):.2f}x the compute of {baseline}"
    spread = f"{min(known):.2f} to {max(known):.2f} over {len(known)} seeds"
    return f"{middle} ({spread if len(known) > 1 else 'one seed'})"
