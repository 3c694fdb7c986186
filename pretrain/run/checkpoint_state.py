"""What a checkpoint knows beside tensors: its state.json.

It names how far the run is and what it was made from, so that a resume of another run is refused.
No randomness is stored: it is a function of the step.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from configs.errors import InputError
from configs.loader import flat
from configs.renamed import renamed_field
from configs.schema import PrecisionName, PretrainConfig
from configs.system.json_files import read_json

STATE = "state.json"
ROPE_THETA = "rope_theta"
"""in `State.extra` of pretraining: the base of rotary angles, where phases have their own"""


@dataclass(frozen=True)
class State:
    """Everything a resume needs beside the tensors."""

    step: int
    """optimizer steps done, skipped ones included"""
    skipped_steps: int = 0
    """those whose gradient was not finite: they changed nothing"""
    elapsed_minutes: float = 0.0
    """training time so far, all starts together"""
    tokens: float = 0.0
    """real ones that were learnt from so far"""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """what must not change between save and load: see `describe.fingerprints`"""
    precision: PrecisionName | None = None
    """what `engine.precision` was resolved to"""
    store: str | None = None
    """folder of the token store"""
    world_size: int | None = None
    """ranks that saved it"""
    micro_sequences: int | None = None
    """what `batch.micro_sequences` was resolved to"""
    learning_rate: float | None = None
    """of the last step; None: not known"""
    evaluated_step: int | None = None
    """of the last evaluation; None: not known, of this step then"""
    extra: dict[str, Any] = field(default_factory=dict)
    """what its objective keeps (`Objective.extra_state`)"""

    def check(self) -> None:
        """Raise `ValueError` for a value that no run writes."""
        steps = (self.step, self.skipped_steps)
        sound = {
            "step": type(self.step) is int and self.step >= 0,
            "skipped_steps": all(type(n) is int for n in steps) and 0 <= steps[1] <= steps[0],
            "elapsed_minutes": _is_amount(self.elapsed_minutes),
            "tokens": _is_amount(self.tokens),
            "fingerprints": isinstance(self.fingerprints, dict),
            "precision": self.precision in (None, *get_args(PrecisionName)),
            "world_size": self.world_size is None or type(self.world_size) is int,
            "micro_sequences": self.micro_sequences is None or type(self.micro_sequences) is int,
            "learning_rate": self.learning_rate is None or _is_amount(self.learning_rate),
            "evaluated_step": self.evaluated_step is None or type(self.evaluated_step) is int,
            "extra": isinstance(self.extra, dict),
        }
        for name, is_sound in sound.items():
            if not is_sound:
                raise ValueError(f"{name}={getattr(self, name)!r}")


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 <= value < float("inf")


def read_state(path: Path, fingerprints: dict[str, str], allowed: Collection[str] = ()) -> State:
    """The state of a checkpoint, which must carry the same fingerprints as this run.

    Args:
        allowed: names of fingerprints that may differ.
    Raises:
        InputError: naming the first other fingerprint that differs.
    """
    # A score may be NaN; `check` lets none of the other numbers be.
    content = read_json(path / STATE, "restore it or remove the checkpoint", infinite=True)
    try:
        state = State(**content)
        state.check()
    except (TypeError, ValueError) as error:
        raise InputError(f"{path / STATE}: written by another version ({error})") from error
    old_fields = dict(renamed_field(*field) for field in state.fingerprints.items())
    defaults = flat(asdict(PretrainConfig()))
    for name, value in fingerprints.items():
        # A field that is younger than the checkpoint had what is its default now.
        saved = str(old_fields.get(name, defaults.get(name)))
        is_same = saved == value or (name == "phases" and set_in(saved) == set_in(value))
        if not is_same and name not in allowed:
            other = f" (or resume with data.store={state.store})" if name == "corpus" else ""
            raise InputError(
                f"{path} was made with {name}={saved}, the configuration makes {value}: restore "
                f"that{other}, start anew in another run_dir, or say "
                f"checkpoint.allow_changes=[{name}]"
            )
    return state


def set_in(phases: str) -> list[dict[str, Any]]:
    """What is set in the phases of a fingerprint: a field that is younger than it is not."""
    fields: list[dict[str, Any]] = ast.literal_eval(phases)
    return [{name: value for name, value in phase.items() if value} for phase in fields]
