"""Keys that a schema does not know, and values of another shape than it asks for."""

from __future__ import annotations

import difflib
from dataclasses import is_dataclass
from functools import cache
from typing import Any, TypeGuard, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, ListConfig

from configs.errors import InputError

type_hints = cache(get_type_hints)
"""the types of a class's fields, by name: slow to find out"""


def is_schema(kind: object) -> TypeGuard[type]:
    """Whether a type is a dataclass."""
    return isinstance(kind, type) and is_dataclass(kind)


def check_keys(node: Any, schema: object, source: str, prefix: str = "") -> None:
    """Raise `InputError` for the first key that `schema` does not know, with a suggestion.

    The same where a single value, a list and a mapping are taken for one another.
    """
    is_list = get_origin(schema) is list
    if not (is_list or is_dataclass(schema)) or node._is_interpolation():
        _refuse_booleans(node, schema, source, prefix[:-1])
        return
    if is_list and isinstance(node, ListConfig):
        for i in range(len(node)):
            check_keys(node._get_node(i), get_args(schema)[0], source, f"{prefix}{i}.")
    elif isinstance(node, DictConfig) and not is_list:
        types = type_hints(schema)
        for key in map(str, node):
            if key not in types:
                hint = _beneath(node, key, schema) or _known(key, list(types))
                raise InputError(f"{source}: unknown key '{prefix}{key}'; {hint}")
            check_keys(node._get_node(key), types[key], source, f"{prefix}{key}.")
    else:
        kind = "list" if is_list else "mapping of keys to values"
        raise InputError(f"{source}: '{prefix[:-1]}' must be a {kind}")


def _refuse_booleans(node: Any, schema: object, source: str, name: str) -> None:
    """Raise `InputError` for a yes, no, on, off, true or false where text is wanted.

    YAML reads them as booleans, and as text they would be `True` and `False`.
    """
    kinds = set(get_args(schema)) if get_origin(schema) is Union else {schema}
    kind, *others = kinds - {type(None)}
    inner = (Any, *get_args(kind))[-1]
    if isinstance(node, DictConfig):
        for key in node:
            _refuse_booleans(node._get_node(key), inner, source, f"{name}.{key!s}")
    elif isinstance(node, ListConfig):
        for i in range(len(node)):
            _refuse_booleans(node._get_node(i), inner, source, f"{name}.{i}")
    elif kind is str and not others and isinstance(node._value(), bool):
        raise InputError(
            f"{source}: '{name}' is text, but YAML reads an unquoted yes, no, on, off, true or "
            "false as a truth value: write it in quotes"
        )


def _known(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"


def _beneath(node: DictConfig, key: str, schema: object) -> str:
    """The hint for a key that belongs into one of the schema's open mappings, whose contents it may
    name in `OPEN`; empty: it does not, or is all but a key of the schema's own."""
    if difflib.get_close_matches(key, type_hints(schema), cutoff=0.85):
        return ""
    for section, inner in getattr(schema, "OPEN", {}).items():
        if key in type_hints(inner):
            name, value = f"{section}.{key}", node._get_node(key)
            while isinstance(value, DictConfig) and len(value) == 1:
                (own,) = value
                name, value = f"{name}.{own!s}", value._get_node(own)
            return f"did you mean '{name}'?"
    return ""
