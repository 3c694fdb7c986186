"""What every field of a schema means, from the string below it in the source."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints


class FieldText(NamedTuple):
    """One field, as people read it."""

    name: str
    """with dots; `0` stands for any number, `NAME` for any name"""
    kind: str
    default: str
    """as YAML"""
    meaning: str


class SectionText(NamedTuple):
    """The fields of one dataclass."""

    name: str
    """what stands before the dots of its fields; empty for the schema itself"""
    purpose: str
    fields: list[FieldText]


def describe(schema: type, prefix: str = "") -> list[FieldText]:
    """Every field of a schema, nested ones with dots."""
    return [field for section in sections(schema, prefix) for field in section.fields]


def sections(
    schema: type, prefix: str = "", values: object = None, purpose: str = ""
) -> Iterator[SectionText]:
    """The schema's own fields, then those of each dataclass nested in it.

    Args:
        schema: a dataclass; the string under a field in its source is the field's meaning.
        prefix: of all names, its dot included.
        values: an instance, whose values are the defaults; None: the schema's own.
        purpose: what is said of the section; empty: the schema's docstring.
    """
    meanings, kinds = _field_docstrings(schema), get_type_hints(schema)
    own: list[FieldText] = []
    nested: list[SectionText] = []
    for f in fields(schema):
        kind, meaning = kinds[f.name], meanings.get(f.name, "")
        index = {list: "0.", dict: "NAME."}.get(get_origin(kind) or kind, "")
        item = get_args(kind)[-1] if index else kind
        default = _default(f, values)
        if is_dataclass(item) and isinstance(item, type):
            below = None if index else default
            nested += sections(item, f"{prefix}{f.name}.{index}", below, meaning)
        else:
            own.append(FieldText(prefix + f.name, _type_name(kind), _yaml(default), meaning))
    yield SectionText(prefix.rstrip("."), purpose or inspect.getdoc(schema) or "", own)
    yield from nested


def _default(f: Field[Any], values: object) -> object:
    if values is not None:
        return getattr(values, f.name)
    return f.default if f.default_factory is MISSING else f.default_factory()


def _yaml(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _type_name(kind: Any) -> str:  # noqa: ANN401  (what an annotation resolves to has no type)
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return " | ".join(map(str, arguments))
    if get_origin(kind) is Union:
        return " | ".join(map(_type_name, arguments)).replace("NoneType", "null")
    if get_origin(kind) is list:
        return f"list of {_type_name(arguments[0])}"
    return "mapping" if get_origin(kind) is dict else str(kind.__name__)


def _field_docstrings(schema: type) -> dict[str, str]:
    """Of the class's own fields, and of those it inherits."""
    inherited = {
        name: text
        for base in schema.__bases__
        if is_dataclass(base)
        for name, text in _field_docstrings(base).items()
    }
    definition = ast.parse(inspect.getsource(schema)).body[0]
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return inherited | {
        statement.target.id: " ".join(text.value.value.split())
        for statement, text in zip(body, body[1:])
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
