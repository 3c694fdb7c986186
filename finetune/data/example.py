"""What flows from files to tasks: examples as read, and their parts.

A held-out part is a function of the content, the same for every method, run and machine. Texts of a
part that stand, alike or nearly, in another are found exactly: two sets that are similar enough
share one of the few rarest shingles of either, so only those are looked up (all-pairs search:
Bayardo et al., 2007).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from configs.errors import InputError
from configs.task_schema import TaskConfig
from finetune.data.tables import encoding_of
from pretrain.text.encoding import Encoding

Item = TypeVar("Item", bound=Any)
SHINGLE = 3
SIMILAR = 0.7


@dataclass(frozen=True)
class TextExample:
    """A text, or a pair, with a label or number."""

    where: str
    """file and row, for messages"""
    id: str
    text: str
    pair: str | None
    target: int | float | None
    """index into the task's labels, or a number; None where it is to be predicted"""
    raw: str = ""
    """the text before preprocessing"""
    is_short: bool = False
    """fewer words than task.preprocess.minimum_words"""

    @property
    def is_labelled(self) -> bool:
        """Whether its answer can be scored."""
        return self.target is not None

    @property
    def label(self) -> int:
        """Of a labelled text: its class, as an index into the task's labels."""
        assert isinstance(self.target, int), f"{self.where} has no class"
        return self.target

    @property
    def number(self) -> float:
        """Of a labelled text: the number that regression learns."""
        assert self.target is not None, f"{self.where} has no number"
        return self.target


@dataclass(frozen=True)
class SpanExample:
    """A question about a context (SQuAD)."""

    where: str
    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...] | None
    """(text, start in characters) of each accepted answer; empty: it has no answer; None: it is to
    be predicted"""
    article: str = field(default="", repr=False)
    """that the context is from; no part of `digest_examples`"""

    @property
    def is_labelled(self) -> bool:
        """Whether its answer can be scored."""
        return self.answers is not None

    @property
    def accepted(self) -> list[str]:
        """The texts of its accepted answers; none where it has no answer."""
        return [text for text, _ in self.answers or ()]


@dataclass(frozen=True)
class ChoiceExample:
    """A question with options (RACE)."""

    where: str
    id: str
    context: str
    question: str
    options: tuple[str, ...]
    target: int | None

    @property
    def is_labelled(self) -> bool:
        """Whether its answer can be scored."""
        return self.target is not None


@dataclass(frozen=True)
class TagExample:
    """A sentence whose words, or characters, carry labels (CoNLL)."""

    where: str
    id: str
    words: tuple[str, ...]
    targets: tuple[int, ...]
    """indexes into the task's labels"""
    is_labelled: ClassVar[bool] = True


Example = TypeVar("Example", TextExample, SpanExample, ChoiceExample, TagExample)
AnyExample = TextExample | SpanExample | ChoiceExample | TagExample


@dataclass(frozen=True)
class Splits(Generic[Example]):
    """The examples of a task."""

    parts: dict[str, list[Example]]
    """of train, dev, perhaps test, and further files, by name and in this order"""
    labels: tuple[str, ...] = ()
    """all labels, in the order of tables"""
    notes: tuple[str, ...] = ()
    """what a reader of the results should know: rows repaired, left out, duplicated"""

    @property
    def train(self) -> list[Example]:
        """What is learnt from."""
        return self.parts["train"]

    @property
    def dev(self) -> list[Example]:
        """What is chosen by."""
        return self.parts["dev"]

    @property
    def evaluated(self) -> dict[str, list[Example]]:
        """All parts but train; some may have no labels."""
        return {name: part for name, part in self.parts.items() if name != "train"}

    @property
    def sizes(self) -> str:
        """How many examples each part has, for people."""
        return ", ".join(f"{len(part):,} {name}" for name, part in self.parts.items())


def are_labelled(examples: Sequence[Any]) -> bool:
    """Whether answers to a file's examples can be scored: readers see that all can or none."""
    return bool(examples) and examples[0].is_labelled


def digest_examples(splits: Splits[Any]) -> str:
    """sha256 of all examples, wherever their files lie."""
    hasher = hashlib.sha256()
    for example in chain.from_iterable(splits.parts.values()):
        hasher.update(repr(replace(example, where="")).encode())
    return hasher.hexdigest()


def read_parts(
    config: TaskConfig,
    read: Callable[[Path, Encoding], list[Item]],
    key: Callable[[Item], str],
    in_groups: bool = False,
) -> tuple[dict[str, list[Item]], list[str]]:
    """(train, dev, test and further parts of a task, those there are; notes on the reading).

    Without a dev file, dev is held out of train by hashes of keys.

    Args:
        key: those of one key fall on the same side.
        in_groups: `task.dev_fraction` counts keys (articles, say), not items.
    Raises:
        InputError: nothing is left for train or dev, or what is left has no answers.
    """
    encoding = encoding_of(config)
    folder = Path(config.folder).expanduser()
    files = {"train": config.train, **config.evaluated}
    parts = {name: read(folder / file, encoding) for name, file in files.items()}
    if not config.dev:
        keys, fraction = list(map(key, parts["train"])), config.dev_fraction
        held: Iterable[bool] = heldout_mask(keys, [""] * len(keys), fraction)
        if in_groups:
            held = map(heldout_groups(keys, fraction).__contains__, keys)
        parts = with_dev(parts, held)
    for name in ("train", "dev"):
        if not parts[name]:
            raise InputError(
                f"{folder / config.train}: nothing is left for {name}: give a longer file, or "
                "task.dev a file of its own"
            )
        if not are_labelled(parts[name]):
            raise InputError(
                f"{parts[name][0].where}: it has no answer, and nothing can be learnt from the "
                "file or chosen by it: name one with answers, or this one as task.test"
            )
    unscored = (
        f"{name}: no answers in the file, so its {len(examples):,} are not scored"
        for name, examples in parts.items()
        if not are_labelled(examples)
    )
    return parts, [*encoding.notes, *unscored]


def with_dev(parts: dict[str, list[Item]], heldout: Iterable[bool]) -> dict[str, list[Item]]:
    """The parts with those items of train that are held out as dev, the second part."""
    items = list(zip(parts["train"], heldout))
    own = {
        "train": [item for item, is_dev in items if not is_dev],
        "dev": [item for item, is_dev in items if is_dev],
    }
    return own | {name: part for name, part in parts.items() if name != "train"}


def heldout_mask(texts: Sequence[str], strata: Sequence[str], fraction: float) -> np.ndarray:
    """Which of the texts are held out, bool (N).

    Of each stratum (a label, say) those with the smallest hashes, `fraction` of them. Equal texts
    of a stratum fall on the same side, so the share may differ by a few.
    """
    members = defaultdict(list)
    for number, stratum in enumerate(strata):
        members[stratum].append(number)
    digests = [digest(text) for text in texts]
    mask = np.zeros(len(texts), bool)
    for numbers in members.values():
        limit = threshold([digests[number] for number in numbers], fraction)
        mask[[number for number in numbers if digests[number] < limit]] = True
    return mask


def heldout_groups(names: Sequence[str], fraction: float) -> set[str]:
    """Which groups (articles, say) are held out as a whole: those with the smallest hashes."""
    groups = {name: digest(name) for name in names}
    limit = threshold(list(groups.values()), fraction)
    return {name for name, value in groups.items() if value < limit}


def digest(text: str) -> int:
    """64 bits of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def threshold(digests: list[int], fraction: float) -> int:
    """Digests below this number are held out: round(fraction x n) of them if all differ."""
    ordered = sorted(digests)
    count = round(fraction * len(ordered))
    return ordered[count] if count < len(ordered) else 2**64


Pairs = list[tuple[int, int, float]]
"""(index among the texts, index in the reference, similarity)"""


def find_duplicates(reference: Sequence[str], texts: Sequence[str]) -> tuple[Pairs, Pairs]:
    """(equal texts, alike ones) that `reference` holds too; case and spacing do not count.

    Alike are those whose word 3-shingles have a Jaccard similarity of `SIMILAR` or more: below 1
    for all but reordered repetitions.
    """
    known, asked = ([" ".join(t.casefold().split()) for t in part] for part in (reference, texts))
    # Backwards, so that of equal texts the first one stays.
    first = {text: number for number, text in reversed(list(enumerate(known)))}
    exact = [(number, first[text], 1.0) for number, text in enumerate(asked) if text in first]
    is_exact = {number for number, _, _ in exact}
    rest = {n: shingles(text) for n, text in enumerate(asked) if n not in is_exact}
    return exact, _near(list(map(shingles, known)), rest)


def shingles(text: str) -> frozenset[str]:
    """Runs of `SHINGLE` words; a shorter text is one itself."""
    words = text.split()
    runs = range(max(1, len(words) - SHINGLE + 1))
    return frozenset(" ".join(words[start : start + SHINGLE]) for start in runs)


def _near(known: list[frozenset[str]], asked: dict[int, frozenset[str]]) -> Pairs:
    """The first of the most similar known sets of each asked one, where it is similar enough."""
    wanted = frozenset[str]().union(*asked.values())
    holders: dict[str, list[int]] = defaultdict(list)
    for number, runs in enumerate(known):
        for run in runs & wanted:
            holders[run].append(number)
    pairs = []
    for number, runs in asked.items():
        # Of a set's n shingles a similar one lacks at most (1 - SIMILAR) n, so among one more than
        # that, whichever they are, it has at least one. The rarest ones have the fewest holders.
        rarest = sorted(runs, key=lambda run: len(holders[run]))
        rare = rarest[: 1 + int((1 - SIMILAR) * len(runs))]
        candidates = {other for run in rare for other in holders[run]}
        # The minus makes the first of equally similar sets the largest pair.
        scored = ((jaccard(runs, known[other]), -other) for other in candidates)
        similarity, minus_other = max(scored, default=(0.0, 0))
        if similarity >= SIMILAR:
            pairs.append((number, -minus_other, similarity))
    return pairs


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """|a and b| / |a or b|."""
    return len(a & b) / len(a | b)
