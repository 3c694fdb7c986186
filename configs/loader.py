"""Defaults <- `base:` <- YAML <- `a.b=c` on the command line, strictly typed.

`--config` takes the name of a YAML that ships in this package (from any working directory) or a
path to one's own. Unknown keys and wrong types end in one `InputError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from configs.errors import InputError
from configs.known_keys import check_keys, is_schema, type_hints
from configs.renamed import renamed
from configs.system import secrets
from configs.system.files import check_stored
from configs.system.run_names import CONFIG
from configs.system.safe_text import first_hidden

FOLDER = Path(__file__).parent
Schema = TypeVar("Schema")


def load_config(
    schema: type[Schema],
    name: str,
    overrides: Iterable[str] = (),
    values: Mapping[str, object] | None = None,
) -> Schema:
    """The resolved configuration, checked against `schema`.

    Args:
        schema: dataclass of the whole configuration; it may say in `OPTION` where `name` was
            typed, for messages, and in `FOLDER` where in this package shipped names are looked up.
        name: shipped name (`roberta_small.yaml`, the ending may be left out) or path.
        overrides: `key=value` or `a.b.0.c=value` entries.
        values: fields, nested or with dots, that beat the file and are beaten by `overrides`.
    Raises:
        InputError: no such file, unknown key, wrong type, or a failed cross-check.
    """
    option, folder = getattr(schema, "OPTION", "--config"), getattr(schema, "FOLDER", "")
    path = find_config(name, option, folder)
    raw = _read_layers(path, schema)
    for key, value in (values or {}).items():
        _update(raw, key, value, schema, f"'{key}: {value}'")
    for override in overrides:
        _apply_override(raw, override, schema)
    return _checked(raw, schema, path)


def load_run_config(schema: type[Schema], run_dir: Path) -> Schema:
    """The configuration that a run was started with, as its folder has it: what asks for an
    environment variable that is not set stays as it is written."""
    path = find_config(str(run_dir / CONFIG))
    raw = _read_layers(path, schema)
    _keep_unset(raw)
    return _checked(raw, schema, path)


def _read_layers(path: Path, schema: type) -> DictConfig:
    """The schema's defaults under a file and those that it is based on."""
    raw = OmegaConf.create(_plain(_structured(schema)))
    if "run_dir" in raw:
        if "${" in path.stem:
            raise InputError(f"{path}: its name, that of run_dir, holds ${{: choose another name")
        raw.run_dir = str(Path(raw.run_dir).with_name(path.stem))
    for layer in _layers(path):
        check_keys(layer, schema, source=str(path))
        _empty_open_mappings(raw, layer, schema)
        raw = _merged(raw, OmegaConf.create(_spelled_alike(layer, schema)))
    return raw


def _checked(raw: DictConfig, schema: type[Schema], path: Path) -> Schema:
    """An instance of the schema; what it asks of the environment is remembered as secret."""
    written = dict(_leaves(_plain(raw)))
    # A cluster's profile becomes part of a job's script.
    secrets.check(written, str(path), for_script=getattr(schema, "FOLDER", "") == "clusters")
    config = _to_schema(raw, schema, path)
    if any(map(secrets.asks, written.values())):
        secrets.remember(written, dict(_leaves(_plain(raw, resolve=True))))
    return config


def find_config(name: str, option: str = "--config", folder: str = "") -> Path:
    """The file behind `option name`: as given, else among the shipped ones in `folder`."""
    names = (name, f"{name}.yaml")
    candidates = [Path(n) for n in names] + [FOLDER / folder / n for n in names]
    for candidate in filter(Path.is_file, candidates):
        check_stored(candidate)
        return candidate
    shipped = shipped_configs(folder)
    stems = {Path(path).stem: path for path in shipped}
    close = difflib.get_close_matches(Path(name).stem, stems, n=1, cutoff=0.5)
    hint = f"; did you mean {stems[close[0]]}?" if close else f"; shipped: {', '.join(shipped)}"
    raise InputError(f"{option} {name}: no such file{hint}")


def shipped_configs(folder: str = "") -> list[str]:
    """Names, from `folder` of this package on, of all YAML files there and below, sorted."""
    root = FOLDER / folder
    return sorted(str(p.relative_to(root)) for p in root.rglob("*.yaml"))


def dump_config(config: object) -> str:
    """The configuration as YAML that loads back to the same, in the same environment: what was
    asked of it, and every secret, is written as `${oc.env:NAME}`."""
    tree = OmegaConf.structured(config)
    resolved = OmegaConf.to_container(tree, enum_to_str=True)
    plain: Any = secrets.as_stored(resolved)
    if any(isinstance(text, str) and first_hidden(text) for _, text in _leaves(plain)):
        # PyYAML leaves some characters as they are that a terminal obeys.
        text: str = yaml.dump(plain, Dumper=_EscapingDumper, sort_keys=False, width=10**6)
        return text
    return OmegaConf.to_yaml(tree if plain == resolved else OmegaConf.create(plain))


def recipe_text(config: object, without: Collection[str] = (), young: Collection[str] = ()) -> str:
    """The configuration with everything resolved, to be hashed: it is neither shown nor stored.

    Args:
        without: fields, by their names with dots, that decide nothing.
        young: fields that count only where they are set: the others were hashed without them.
    """
    trees: list[Any] = [
        OmegaConf.to_container(OmegaConf.structured(made)) for made in (config, type(config))
    ]
    for name in (*without, *young):
        *above, field = name.split(".")
        own, default = (reduce(getitem, above, tree) for tree in trees)
        if name in without or own.get(field) == default.get(field):
            own.pop(field, None)
    return OmegaConf.to_yaml(OmegaConf.create(trees[0]))


def from_container(schema: type[Schema], values: dict[str, Any]) -> Schema:
    """The stored configuration whose fields, as plain dicts and lists, are `values`."""
    raw = OmegaConf.create(values)
    _keep_unset(raw)
    made = OmegaConf.to_object(_merged(OmegaConf.structured(schema), raw))
    assert isinstance(made, schema)
    return made


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of nested dicts under their names with dots; a list is a leaf."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        inner = flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {}
        leaves |= inner or {f"{prefix}{key}": value}
    return leaves


def _leaves(tree: object, place: secrets.Place = ()) -> Iterator[tuple[secrets.Place, object]]:
    """Everything in nested dicts and lists that is neither, with the way there."""
    if isinstance(tree, (dict, list)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _leaves(value, (*place, key))
    else:
        yield place, tree


def _keep_unset(raw: DictConfig) -> None:
    """Leave values that ask for variables which are not set as they are written."""
    for (*way, key), text in list(_leaves(_plain(raw))):
        if isinstance(text, str) and secrets.is_unset(text):
            node: Any = raw
            for step in way:
                node = node[step]
            node[key] = text.replace("${", "\\${")


class _EscapingDumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML ships no types
    """Texts in double quotes, where every character but ASCII is escaped."""


_EscapingDumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def _spelled_alike(layer: DictConfig, schema: type) -> dict[str, Any]:
    """The layer with names with dots in place of nested mappings where a schema leaves fields open.

    A field of an ablation can be written either way; a layer that writes it otherwise than the one
    below would set it beside that one's, and lose.
    """

    def walk(node: Any, kind: Any) -> Any:
        inner = next((a for a in get_args(kind) if a is not type(None)), None)
        if get_origin(kind) is Union:
            return walk(node, inner)
        if isinstance(node, list) and get_origin(kind) is list:
            return [walk(item, inner) for item in node]
        if not isinstance(node, dict):
            return node
        if is_schema(kind):
            types = type_hints(kind)
            return {key: walk(value, types.get(key)) for key, value in node.items()}
        if get_origin(kind) is dict:
            item = get_args(kind)[1]
            return flat(node) if item is Any else {k: walk(v, item) for k, v in node.items()}
        return node

    walked: dict[str, Any] = walk(_plain(layer), schema)
    return walked


def _empty_open_mappings(node: DictConfig, layer: DictConfig, schema: type) -> None:
    """Empty those mappings of `node` with keys of the user's own that `layer` writes as `{}`.

    Merging adds keys and takes none away: `task.merge: {}` would keep all that it was to remove.
    """
    for key, kind in type_hints(schema).items():
        value = layer._get_node(key) if key in layer else None
        if not isinstance(value, DictConfig) or key not in node:
            continue
        if get_origin(kind) is dict and not value:
            node[key] = {}
        elif is_schema(kind) and isinstance(node[key], DictConfig):
            _empty_open_mappings(node[key], value, kind)


def _layers(path: Path) -> list[DictConfig]:
    """The YAML at `path` preceded by everything it inherits through `base:`."""
    chain: list[DictConfig] = []
    seen: list[Path] = []
    current: Path | None = path
    while current is not None:
        if current.resolve() in seen:
            raise InputError(f"{current}: `base:` is circular")
        seen.append(current.resolve())
        layer = _read_yaml(current)
        base = _plain(layer).get("base")
        chain.insert(0, OmegaConf.masked_copy(layer, [str(key) for key in layer if key != "base"]))
        current = _find_base(base, current) if base else None
    return chain


def _find_base(base: object, child: Path) -> Path:
    if not isinstance(base, str):
        raise InputError(f"{child}: `base: {base}` is no name of a configuration")
    beside = child.parent / base
    return beside if beside.is_file() else find_config(base)


def _read_yaml(path: Path) -> DictConfig:
    try:
        layer = OmegaConf.load(path)
    except Exception as error:  # PyYAML, OmegaConf and decoding each raise their own family
        raise InputError(f"{path}: not readable as YAML: {_one_line(error)}") from error
    if not isinstance(layer, DictConfig):
        raise InputError(f"{path}: a configuration is a mapping of keys to values")
    if not layer and "{" not in path.read_text(encoding="utf-8"):
        raise InputError(f"{path} is empty: write at least `base: small.yaml`")
    return OmegaConf.create(renamed(_plain(layer)))


def _apply_override(raw: DictConfig, override: str, schema: type) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError(f"'{override}' is no override: write key=value, e.g. seed=1")
    source = f"override '{override}'"
    try:
        layer = OmegaConf.from_dotlist([f"value={value}"])
        written = _plain(layer)["value"]
        asks = any(secrets.asks(text) for _, text in _leaves(written))
        parsed = written if asks else layer.value
    except Exception as error:  # as in `_read_yaml`: the value is YAML
        raise InputError(f"{source} does not fit: {_one_line(error)}") from error
    _update(raw, key, parsed, schema, source)


def _update(raw: DictConfig, key: str, value: object, schema: type, source: str) -> None:
    ((key, value),) = renamed({key: value}).items()
    try:
        layer = OmegaConf.create()
        OmegaConf.update(layer, key, value, force_add=True)
        _empty_open_mappings(raw, layer, schema)
        OmegaConf.update(raw, key, value, force_add=True)
    except Exception as error:  # a path that leads nowhere raises many kinds
        raise InputError(f"{source} does not fit: {_one_line(error)}") from error
    check_keys(raw, schema, source)


def _to_schema(raw: DictConfig, schema: type[Schema], path: Path) -> Schema:
    try:
        config = OmegaConf.to_object(_merged(_structured(schema), raw))
        assert isinstance(config, schema)
        if getattr(config, "run_dir", None) == "":
            raise InputError(f"{path}: run_dir is empty: name a folder, e.g. runs/mine")
        _refuse_references(config, path)
        return config
    except InputError:
        raise
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        key = getattr(error, "full_key", None) or "configuration"
        raise InputError(f"{path}: {key}: {_one_line(error)}") from error


def _refuse_references(config: object, path: Path) -> None:
    """Raise `InputError` for `${` that is left as text: written down, it would not load back."""
    if not is_dataclass(config) or isinstance(config, type) or "${" not in str(config):
        return
    for key, value in flat(asdict(config)).items():
        if "${" in str(value) and not secrets.is_unset(str(value)):
            raise InputError(
                f"{path}: {key} holds the text ${{, which in a run's {CONFIG} would stand for the "
                "value of another field: write it without"
            )


def _merged(below: DictConfig, above: DictConfig) -> DictConfig:
    merged = OmegaConf.merge(below, above)
    assert isinstance(merged, DictConfig)
    return merged


def _plain(node: DictConfig, resolve: bool = False) -> dict[str, Any]:
    """Nested dicts and lists, with references as they are written unless they are resolved."""
    plain: Any = OmegaConf.to_container(node, resolve=resolve)
    assert isinstance(plain, dict)
    return plain


def _structured(schema: type) -> DictConfig:
    """The schema with its defaults: costly to make, and never changed."""
    return _made(schema)


@cache
def _made(schema: type) -> DictConfig:
    structured = OmegaConf.structured(schema)
    assert isinstance(structured, DictConfig)
    OmegaConf.set_readonly(structured, False)
    return structured


def _one_line(error: Exception) -> str:
    """An error's message without OmegaConf's appended key dump, in one line."""
    return " ".join(str(error).split("\n    full_key")[0].split())
