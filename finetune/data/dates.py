"""Dates in columns of mixed formats, where 02-04-2020 may be in April or in February.

A file that went through a spreadsheet may hold 16-03-2020 beside 3/16/2020. Dates that can be read
in one order only, as a day above 12 is no month, decide for the others: those with the same
separator first, then those of the whole column, and last the order that keeps the dates together.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime

CLOCK = r"(?:[T ,]+\d{1,2}:\d{2}.*)?"
YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})\2(\d{{1,2}}){CLOCK}")
YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}|\d{{2}}){CLOCK}")
SPELLED = ("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%b %d, %Y", "%B %d, %Y", "%a %b %d %H:%M:%S %z %Y")
DATES = 0.9
"""share of a column's values that must be dates for it to be a column of dates"""
EVIDENCE = (
    "rows of the same format that can be read in one order only",
    "other rows of the column that can be read in one order only",
    "the shorter range of dates: a guess",
)


@dataclass(frozen=True)
class DateFormat:
    """One way in which a column's dates are written."""

    name: str
    rows: int
    ambiguous: int
    """rows that would be another day with day and month exchanged"""
    decided_by: str
    """how those were read; empty where there are none"""
    first: date
    last: date


@dataclass(frozen=True)
class Dates:
    """A column read as dates."""

    days: list[date | None]
    """of every row; None where there is no date"""
    formats: list[DateFormat]
    """the commonest first"""
    unread: list[str]
    """what is neither empty nor a date"""


Reading = dict[str, date]
"""format to date: two of them for 02-04-2020, none for what is no date"""
Rank = tuple[int, int, int]


def read_dates(values: Sequence[str]) -> Dates | None:
    """The dates of a column; None for a column of something else."""
    readings = [read(value.strip()) for value in values]
    given = sum(1 for value in values if value.strip())
    if not given or sum(map(bool, readings)) < DATES * given:
        return None
    ranks = rank_formats(readings)
    chosen = [max(reading, key=ranks.__getitem__) if reading else None for reading in readings]
    rows: dict[str, list[Reading]] = defaultdict(list)
    for name, reading in zip(chosen, readings):
        if name:
            rows[name].append(reading)
    return Dates(
        days=[reading[name] if name else None for name, reading in zip(chosen, readings)],
        formats=sorted((describe(*item, ranks) for item in rows.items()), key=lambda f: -f.rows),
        unread=[v for v, reading in zip(values, readings) if v.strip() and not reading],
    )


def read(value: str) -> Reading:
    """Every date that a value may be."""
    parts: dict[str, tuple[str, ...]]
    if match := YEAR_FIRST.fullmatch(value):
        year, mark, month, day = match.groups()
        parts = {f"YYYY{mark}MM{mark}DD": (year, month, day)}
    elif match := YEAR_LAST.fullmatch(value):
        first, mark, second, year = match.groups()
        years = "Y" * len(year)
        parts = {
            f"DD{mark}MM{mark}{years}": (year, second, first),
            f"MM{mark}DD{mark}{years}": (year, first, second),
        }
    else:
        # `strptime` is slow, and all spelled formats end with the year.
        parts = dict.fromkeys(SPELLED if value[-4:].isdigit() else (), ())
    days = {}
    for name, figures in parts.items():
        with suppress(ValueError):  # there is no such day
            if figures:
                year, month, day = map(int, figures)
                # A year of two figures is one of this century.
                days[name] = date(year + (2000 if len(figures[0]) == 2 else 0), month, day)
            else:
                days[name] = datetime.strptime(value, name).date()
    return days


def rank_formats(readings: Sequence[Reading]) -> dict[str, Rank]:
    """For each format what speaks for it, in the order of `EVIDENCE`."""
    # A value with one reading votes for its format, and so for one of DD and MM coming first,
    # which also tells what a column means by the same digits between other separators.
    votes = Counter(name for reading in readings if len(reading) == 1 for name in reading)
    sides: Counter[str] = Counter()
    for name, count in votes.items():
        sides[name[:2]] += count
    days: dict[str, set[date]] = defaultdict(set)
    for reading in readings:
        for name, day in reading.items():
            days[name].add(day)
    # Ranks compare as tuples do: later evidence counts only where earlier evidence is equal. The
    # wrong order scatters the days of a few weeks over the months of a year.
    return {
        name: (votes[name], sides[name[:2]], -(max(dates) - min(dates)).days)
        for name, dates in days.items()
    }


def describe(name: str, readings: Sequence[Reading], ranks: dict[str, Rank]) -> DateFormat:
    """A format by the rows that were read in it."""
    ambiguous = [reading for reading in readings if len(set(reading.values())) > 1]
    reason = ""
    if ambiguous:
        # Only day and month can be exchanged, so a value has two formats at most.
        (other,) = set(ambiguous[0]) - {name}
        pairs = zip(EVIDENCE, ranks[name], ranks[other])
        reason = next((text for text, own, others in pairs if own != others), "nothing: a guess")
    days = [reading[name] for reading in readings]
    return DateFormat(name, len(readings), len(ambiguous), reason, min(days), max(days))
