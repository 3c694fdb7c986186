"""What follows from everything that was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def advice(known: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from the values of all findings: the fastest backend, the precision, the MFU."""
    steps = [values for values in known.values() if values.get("mfu") and values.get("backend")]
    found: dict[str, Any] = {}
    if steps:
        best = max(steps, key=lambda values: values["mfu"])
        found["model.attention"] = best["backend"]
        found["engine.compile"] = best.get("compiled", False)
        found["batch.micro_sequences"] = best["micro_sequences"]
        found["model.attention=auto chooses"] = best["auto"]
        found["length"] = best["length"]
        found["doctor --mfu"] = round(best["mfu"], 3)
        if best.get("data_sheet"):
            kind, share = best["data_sheet"]
            found[f"doctor --gpu {kind} --mfu"] = round(share, 3)
    precision = known.get("machine/precision", {}).get("precision")
    if precision:
        found["engine.precision"] = precision
    return found
