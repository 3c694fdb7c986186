"""What every field of a schema means, from the string below it in the source."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints


def describe(schema: type, prefix: str = "") -> list[tuple[str, str, str]]:
    """(field, type and default, documentation) of every field, nested ones with dots.

    The documentation is the string that stands under the field in the schema's source.
    """
    documentation = _field_docstrings(schema)
    types = get_type_hints(schema)
    rows = []
    for f in fields(schema):
        kind = types[f.name]
        index = {list: "0.", dict: "NAME."}.get(get_origin(kind), "")
        item = get_args(kind)[-1] if index else kind
        if is_dataclass(item):
            rows += describe(item, f"{prefix}{f.name}.{index}")
        else:
            rows.append((prefix + f.name, _type_name(kind), documentation.get(f.name, "")))
    return rows


def _type_name(kind: Any) -> str:
    if get_origin(kind) is None:
        return kind.__name__
    names = [repr(a) if isinstance(a, str) else _type_name(a) for a in get_args(kind)]
    return " | ".join(name.strip("'") for name in names).replace("NoneType", "null")


def _field_docstrings(schema: type) -> dict[str, str]:
    body = ast.parse(inspect.getsource(schema)).body[0].body
    return {
        field_node.target.id: " ".join(text.value.value.split())
        for field_node, text in zip(body, body[1:])
        if isinstance(field_node, ast.AnnAssign)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }
