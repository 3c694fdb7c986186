"""What can be chosen of the traffic between ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from configs.checks import require


@dataclass(frozen=True)
class CollectiveConfig:
    """How ranks add up their gradients. Only `compression` can change the curve."""

    algorithm: Literal["ring", "tree", "auto"] = "ring"
    """asked of NCCL by NCCL_ALGO before the ranks meet (a value that is set already stays); auto:
    NCCL decides by message size. gloo, on CPUs, has a ring only"""
    bucket_megabytes: float = 100.0
    """gradients travel in pieces of about this size: small ones pay latency more often, large ones
    take more memory; a tensor that is larger travels whole"""
    overlap: bool = False
    """reduce full buckets during the backward pass, for a second bucket's memory;
    engine.zero_stage 1 and 2 only, since stage 0 reduces after the backward pass"""
    compression: Literal["none", "bf16", "fp16"] = "none"
    """number format in which gradients travel and are summed: 16 bits halve the traffic and round;
    none: fp32"""

    def __post_init__(self) -> None:
        require(
            0 < self.bucket_megabytes < float("inf"),
            f"collective.bucket_megabytes={self.bucket_megabytes} must be above 0 and finite",
        )

    def check_stage(self, zero_stage: int) -> None:
        """Raise `InputError` where `engine.zero_stage` cannot do what is asked here."""
        require(
            not self.overlap or zero_stage > 0,
            "collective.overlap=true needs engine.zero_stage=1 or 2: stage 0 reduces all gradients "
            "after the backward pass",
        )
