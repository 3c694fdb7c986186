"""What the checks of all configurations are made of."""

from __future__ import annotations

from collections.abc import Collection

from configs.errors import InputError
from configs.system.safe_text import first_hidden, visible


def require(condition: bool, message: str) -> None:
    """Raise `InputError(message)` unless `condition` holds."""
    if not condition:
        raise InputError(message)


def require_fraction(name: str, value: float, upper_included: bool = True) -> None:
    """Raise `InputError` unless `value` lies in [0, 1] (or [0, 1) where 1 is excluded)."""
    inside = 0.0 <= value <= 1.0 if upper_included else 0.0 <= value < 1.0
    bounds = "0 to 1" if upper_included else "0 to 1, 1 excluded"
    require(inside, f"{name}={value} is no fraction: choose a number from {bounds}")


def require_between(name: str, value: float, low: float, high: float, ends: bool = False) -> None:
    """Raise `InputError` unless `value` lies between both; `ends`: or is one of them."""
    inside = low <= value <= high if ends else low < value < high
    require(inside, f"{name}={value} must lie between {low:,} and {high:,}")


def require_choice(name: str, value: str | None, known: Collection[str], otherwise: str) -> None:
    """Raise `InputError` unless `value` is null or known; `otherwise` says what it is not."""
    message = f"{name}={value} {otherwise}: choose from {', '.join(known)}"
    require(value is None or value in known, message)


def require_seeds(name: str, seeds: list[int]) -> None:
    """Raise `InputError` unless seeds are different numbers of 32 bits, at least one."""
    sound = all(0 <= seed < 2**32 for seed in seeds) and 0 < len(seeds) == len(set(seeds))
    require(
        sound, f"{name}={list(seeds)} must be different numbers from 0 to 2^32 - 1, at least one"
    )


def require_visible(name: str, value: str | None) -> None:
    """Raise `InputError` for text with a character that cannot be seen.

    A line break, a control character, a lone surrogate: see `configs/system/safe_text.py`.

    For what becomes a file's name, a word of a script or an option of Slurm: there it would end a
    line, or mean something else than what is read.
    """
    hidden = first_hidden(value or "")
    require(
        hidden is None,
        f"{name}={visible(value)} holds {hidden}, which cannot be seen: write it without",
    )


def require_encoding(name: str, value: str | None) -> None:
    """Raise `InputError` unless `value` is None or an encoding of text that Python knows."""
    try:
        bytes(range(256)).decode(value or "utf-8", "replace")
    except (LookupError, UnicodeError, ValueError) as error:
        raise InputError(
            f"{name}={value} is no encoding of text ({error}): choose a name such as utf-8, "
            "cp1252, cp949, shift_jis or gb18030"
        ) from error
