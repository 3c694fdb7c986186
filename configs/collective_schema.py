"""What can be chosen of the traffic between ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Union

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
    overlap: Union[bool, Literal["auto"]] = "auto"
    """reduce full buckets during the backward pass of a step's last micro-batch (engine.zero_stage
    2: of each). auto: at stage 0, where it is free; at stages 1 and 2 it costs a second bucket's
    memory"""
    compression: Literal["none", "bf16", "fp16"] = "none"
    """number format in which gradients travel and are summed: 16 bits halve the traffic and round;
    none: fp32"""

    def __post_init__(self) -> None:
        require(
            0 < self.bucket_megabytes < float("inf"),
            f"collective.bucket_megabytes={self.bucket_megabytes} must be above 0 and finite",
        )

    def overlaps(self, zero_stage: int) -> bool:
        """What `overlap` comes to at a stage of ZeRO."""
        return zero_stage == 0 if self.overlap == "auto" else self.overlap
