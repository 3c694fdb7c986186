"""Text tasks whose files a test writes."""

from __future__ import annotations

TRAIN = [("good film", "pos"), ("bad film", "neg"), ("fine film", "pos"), ("dull film", "neg")]
MANY = [(f"film number {n} was {n}", ("pos", "neg", "mixed")[n % 3]) for n in range(90)]
MERGE = {"Very good": "Good", "Very bad": "Bad"}
GRADES = [(f"{label} {n}", label) for n in range(3) for label in ("Good", "Bad", *MERGE)]
