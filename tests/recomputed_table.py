"""A table's p and verdicts anew from its run folders, with nothing of launch.ablation: scipy's own
tests on the last held-out records. `python -m tests.recomputed_table FOLDER METRIC BASELINE DELTA`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scipy.stats import ttest_1samp


def recompute(folder: Path, metric: str, baseline: str, delta: float) -> dict[str, dict]:
    """Row's folder -> p, p after Holm's correction, and verdict; lower figures are better."""
    values = {}
    for path in sorted(folder.glob("*/seed*/metrics.jsonl")):
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        heldout = [record for record in records if record["kind"] == "heldout"]
        values[path.parts[-3], path.parts[-2]] = heldout[-1][metric]
    seeds = sorted({seed for _, seed in values})
    rows = {}
    for row in sorted({row for row, _ in values} - {baseline}):
        apart = np.array([values[row, seed] - values[baseline, seed] for seed in seeds])
        below = ttest_1samp(apart, delta, alternative="less").pvalue
        above = ttest_1samp(apart, -delta, alternative="greater").pvalue
        rows[row] = {
            "p": ttest_1samp(apart, 0).pvalue,
            "same": max(below, above),
            "d": apart.mean(),
        }
    for name in ("p", "same"):
        ascending, least = sorted(rows, key=lambda row: rows[row][name]), 0.0
        for place, row in enumerate(ascending):
            least = max(least, (len(rows) - place) * rows[row][name])
            rows[row][f"{name}_holm"] = min(1.0, least)
    for found in rows.values():
        judged = "better" if found["d"] < 0 else "worse"
        judged = judged if found["p_holm"] <= 0.05 else "cannot tell"
        found["verdict"] = "the same" if found["same_holm"] <= 0.05 else judged
    return rows


if __name__ == "__main__":
    print(json.dumps(recompute(Path(sys.argv[1]), *sys.argv[2:4], float(sys.argv[4])), indent=1))
