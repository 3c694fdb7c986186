"""Ranks agree before they train, and go down together.

A rank that starts from another recipe, other tokens or another checkpoint than the rest does not
fail: its gradients are summed with theirs, and the run ends well and means nothing. So each rank
says what it starts from. One gather of one digest tells whether all are alike; only where they are
not, the facts themselves are gathered, and every rank raises the same error in one line.
"""

from __future__ import annotations

import hashlib
import json
import socket
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from configs.errors import InputError, RunError
from configs.system.files import disk_trouble
from configs.system.open_files import lack_of_open_files
from pretrain.ranks.preemption import Preempted
from pretrain.ranks.world import World

Facts = dict[str, str]
"""what a rank starts from, by name"""

SHOWN = 3
"""names, or ranks, of many"""
LONGEST_VALUE = 120
CURES = {
    "recipe": "start every rank with the same configuration and overrides",
    "code": "bring the code of every node to the same state",
    "libraries": "install the same versions on every node",
    "environment": "export it alike on every node, or nowhere",
    "processor": (
        "use nodes of one kind with as many cores for each rank, or engine.zero_stage=1, where one "
        "rank alone updates a weight"
    ),
    "corpus": "let all ranks read one store, or copy it to every node anew",
    "checkpoint": "let all ranks read one run folder, or copy it to every node anew",
    "examples": "let all ranks read one folder of examples, or copy it to every node anew",
    "encoder": "let all ranks read one encoder, or copy it to every node anew",
}
"""of a difference, by the group of facts that it lies in"""


@dataclass(frozen=True)
class Difference:
    """A fact that ranks do not agree on."""

    group: str
    name: str
    odd: str
    """what the fewest say"""
    odd_ranks: str
    """who, in words"""
    usual: str
    """what most others say, or the first ranks where no value has more"""
    usual_ranks: str
    others: list[str]
    """further facts that differ"""

    def __str__(self) -> str:
        text = f"{self.name}={self.odd} on {self.odd_ranks}, {self.usual} on {self.usual_ranks}"
        if not self.others:
            return text
        shown, more = ", ".join(self.others[:SHOWN]), len(self.others) - SHOWN
        return f"{text} (also: {shown}{f' and {more} more' if more > 0 else ''})"


class Agreement:
    """What all ranks of a run have been found to agree on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.digests: dict[str, str] = {}

    def require(self, groups: Mapping[str, Facts]) -> None:
        """Return where all ranks hold the same facts; every rank calls this, none knows more.

        Args:
            groups: of facts, by the key of `CURES` that cures a difference.
        Raises:
            InputError: on all ranks, for rank 0 to say, with the first fact that differs.
        """
        self.digests |= {group: _digest(facts) for group, facts in groups.items()}
        difference = find_difference(self.world, groups)
        if difference:
            raise by_all(InputError(f"ranks disagree: {difference}: {CURES[difference.group]}"))

    @property
    def record(self) -> dict[str, Any]:
        """For environment.json: how many ranks, and a digest of each group that was compared."""
        return {"ranks": self.world.size, **self.digests}


def find_difference(world: World, groups: Mapping[str, Facts]) -> Difference | None:
    """The first fact that is not the same on all ranks; the same answer on all."""
    if len(set(world.gather(_digest(groups)))) == 1:
        return None
    everywhere = world.gather((socket.gethostname(), dict(groups)))
    hosts = [host for host, _ in everywhere]
    # A name may be missing on some ranks: an entry of a list that others do not have.
    names = dict.fromkeys((g, n) for _, facts in everywhere for g in facts for n in facts[g])
    differing = {}
    for group, name in names:
        values = [facts.get(group, {}).get(name, "nothing") for _, facts in everywhere]
        if len(set(values)) > 1:
            differing[group, name] = values
    (group, name), *others = differing
    values = differing[group, name]
    # The rarest value is odd, the most frequent one usual; of equally frequent ones rank 0's.
    usual, *_, odd = sorted(dict.fromkeys(values), key=values.count, reverse=True)
    shown = (*_with_ranks(odd, values, hosts), *_with_ranks(usual, values, hosts))
    return Difference(group, name, *shown, [other for _, other in others])


@contextmanager
def failing_together(world: World) -> Iterator[None]:
    """What fails inside on some ranks ends all of them, in the words of the first that failed.

    Each rank would otherwise learn it by waiting for one that has gone. Nothing inside may wait for
    other ranks. An error that all have alike is raised as it is.

    Raises:
        InputError, RunError: on all ranks, for rank 0 to say.
        Preempted: some rank was told to leave.
    """
    own = None
    try:
        yield
    except Exception as error:
        if world.size == 1:
            raise
        own = error
    failures = world.gather(own and _Failure.of(own))
    if own and len(set(failures)) == 1:
        raise by_all(own)
    rank, first = next(((r, f) for r, f in enumerate(failures) if f), (0, None))
    if first is None:
        return
    if own and not isinstance(own, EXPLAINED):
        traceback.print_exception(own)
        raise own
    raise first.error(rank) from own


EXPLAINED = (InputError, RunError, OSError, Preempted)
"""errors whose text tells all"""


@dataclass(frozen=True)
class _Failure:
    """An error as other ranks get it."""

    kind: type
    text: str
    host: str = field(compare=False)
    step: int = 0

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        """What of an error travels: its text, and whether the user can cure it."""
        host = socket.gethostname()
        if isinstance(error, Preempted):
            return cls(Preempted, error.reason, host, error.step)
        if isinstance(error, (InputError, RunError)):
            return cls(InputError if isinstance(error, InputError) else RunError, str(error), host)
        if lack := lack_of_open_files(error):
            return cls(InputError, lack, host)
        if isinstance(error, OSError) and error.filename:
            reason = disk_trouble(error) or error.strerror
            return cls(InputError, f"{error.filename}: {reason}", host)
        return cls(RunError, f"{type(error).__name__}: {error}", host)

    def error(self, rank: int) -> Exception:
        """What every rank raises."""
        if self.kind is Preempted:
            return Preempted(self.step, self.text)
        # What a single rank would say needs no name.
        where = f"rank {rank} on {self.host}: " if rank else ""
        return by_all(self.kind(f"{where}{self.text}"))


def by_all(error: Exception) -> Exception:
    """The error, marked: every rank raises it, so rank 0 alone has to say it."""
    if isinstance(error, (InputError, RunError)):
        error.is_of_all_ranks = True
    return error


def _with_ranks(value: str, values: Sequence[str], hosts: Sequence[str]) -> tuple[str, str]:
    """(the value, who says so), each short."""
    ranks = [rank for rank, other in enumerate(values) if other == value]
    half = LONGEST_VALUE // 2
    shown = value if len(value) <= LONGEST_VALUE else f"{value[:half]} ... {value[-half:]}"
    return shown, name_ranks(ranks, hosts)


def name_ranks(ranks: Sequence[int], hosts: Sequence[str]) -> str:
    """Ranks in words, with the first one's host where there are several."""
    where = f" ({hosts[ranks[0]]})" if len(set(hosts)) > 1 else ""
    if len(ranks) == 1:
        return f"rank {ranks[0]}{where}"
    if len(ranks) > SHOWN:
        return f"rank {ranks[0]}{where} and {len(ranks) - 1} more"
    return f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]}{where}"


def _digest(value: object) -> str:
    """16 hexadecimal digits for facts."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
