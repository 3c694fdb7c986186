"""Fields of a published config.json, read strictly: numbers of their kind, or one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from configs.errors import InputError
from configs.system.json_files import shown

LARGEST = 1e30


def count(content: Mapping[str, Any], name: str, default: int, least: int = 1) -> int:
    """A whole number from `least` on."""
    value = content.get(name, default)
    if type(value) is not int or value < least:
        raise InputError(f"{name}={shown(value)} is no whole number from {least} on: correct it")
    return value


def number(content: Mapping[str, Any], name: str, default: float) -> float:
    """A finite number."""
    value = content.get(name, default)
    if type(value) not in (int, float) or not abs(value) < LARGEST:
        raise InputError(f"{name}={shown(value)} is no number: correct it")
    found: float = value
    return found


def switch(content: Mapping[str, Any], name: str, default: bool) -> bool:
    """True or false."""
    value = content.get(name, default)
    if type(value) is not bool:
        raise InputError(f"{name}={shown(value)} is neither true nor false")
    return value


def check_values(content: Mapping[str, Any], allowed: Mapping[str, Sequence[object]]) -> None:
    """Raise `InputError` where a field has none of its values; the first is that of a missing one.

    0 == False in Python, but no file means it.
    """
    for name, values in allowed.items():
        value = content.get(name, values[0])
        if not any(value == one and type(value) is type(one) for one in values):
            raise InputError(
                f"{name}={shown(value)} is not computed here, only {name}={shown(values[0])}: "
                "choose a model of that kind"
            )
