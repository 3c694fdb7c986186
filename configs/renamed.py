"""Fields that were called otherwise once: configurations and run folders of then still load."""

from __future__ import annotations

from typing import Any

from configs.errors import InputError

OLD, NEW = "masking.whole_word", "masking.unit"
UNITS = {"True": "word", "False": "token"}
"""what the old field's values have become"""


def renamed(tree: dict[str, Any]) -> dict[str, Any]:
    """Nested mappings and lists, fields nested or with dots, under the names of today.

    Raises:
        InputError: a field under both names, or a value that the old one never had.
    """
    walked: dict[str, Any] = {}
    for key, value in tree.items():
        name, content = renamed_field(str(key), value)
        if name == "masking" or name.endswith(".masking"):
            content = _of_masking(content)
        if name != str(key) and (name in tree or name in walked):
            raise InputError(f"{key} is called {name} now: write one of the two")
        walked[key if name == str(key) else name] = _walked(content)
    return walked


def renamed_field(name: str, value: object) -> tuple[str, object]:
    """A field, with dots, and its value, both as they are called today."""
    if name != OLD and not name.endswith(f".{OLD}"):
        return name, value
    if str(value) not in UNITS:
        raise InputError(f"{name}={value}: write {NEW}=token, word or span")
    return name.removesuffix(OLD) + NEW, UNITS[str(value)]


def _of_masking(value: object) -> object:
    if not isinstance(value, dict):
        return value
    full = {f"masking.{key}": inner for key, inner in value.items()}
    return {key.removeprefix("masking."): inner for key, inner in renamed(full).items()}


def _walked(value: object) -> object:
    if isinstance(value, dict):
        return renamed(value)
    return [_walked(item) for item in value] if isinstance(value, list) else value
