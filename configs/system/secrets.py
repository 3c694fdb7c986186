"""Secrets are neither printed nor stored.

What `${oc.env:NAME}` gives to a configuration is stored as `${oc.env:NAME}`, and asked for again
when the file is opened; a line that is printed shows it so as well, unless it is a path or short.
The same goes for every variable with a name such as HF_TOKEN, and for what libraries say. Of an
address, the user and the parameters that are credentials are shown as `***`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from functools import cache
from typing import TypeGuard

from configs.errors import InputError

Place = tuple[object, ...]
"""keys and numbers that lead to a value of a configuration"""
SHORTEST = 8
"""characters of a secret: less is found in ordinary text and paths, as the password `root` would"""
ASKED = re.compile(r"\$\{oc\.env:\s*([^,}\s]+)\s*(,?)")
"""a variable that a value asks for; a comma begins what stands for it where it is not set"""
_WORDS = "token|secret|password|passwd|passphrase|credentials?|api_?key|access_?key"
_NAME = re.compile(rf"(^|_)({_WORDS})(\d|_|$)|(^|_)(key|pat|auth)$", re.IGNORECASE)
_USER = re.compile(r"(\b[a-z][a-z0-9+.-]+:/{1,2})[^\s/?#@'\"]+@", re.IGNORECASE)
"""with one slash, too: so a path has it"""
_PARAMETER = re.compile(
    rf"([?&](?:[\w.-]*[_.-])?(?:{_WORDS}|key|auth|sig|signature)=)[^&\s'\"#]+", re.IGNORECASE
)
_OVERRIDE = re.compile(
    r"(\b(?:[\w.]*(?:hub|hf|access|auth|api|bearer)_|[\w.]+\.)?token=|"
    r"\b[\w.]*(?:secret|password|passwd|passphrase|api_?key)=)[^\s'\"&]+",
    re.IGNORECASE,
)
_asked_for: dict[str, str] = {}
"""value that may be a secret -> how it is written"""
_written: dict[tuple[Place, object], str] = {}
"""place in a configuration, and what it holds -> how it was written there"""


def hide(text: str) -> str:
    """A text for people or for a file, without secrets."""
    text = _USER.sub(r"\1***@", _masked(text))
    return _OVERRIDE.sub(r"\1***", _PARAMETER.sub(r"\1***", text))


def hashed(text: str) -> str:
    """A text that must be the same again, with a hash in place of each secret."""

    def digest(match: re.Match[str]) -> str:
        value = match[0].encode(errors="surrogateescape")
        return f"sha256:{hashlib.sha256(value).hexdigest()[:16]}"

    secrets = _known()
    return secrets.sub(digest, text) if secrets else text


def check(leaves: Mapping[Place, object], source: str, for_script: bool = False) -> None:
    """Learn what the values of a configuration ask for, before anything can be said of them.

    Args:
        leaves: as they are written, by their place.
        source: for messages.
        for_script: they stand in a job's script, so only a variable's name makes a secret.
    Raises:
        InputError: a credential stands in an address, and would be stored with the run.
    """
    for place, text in leaves.items():
        if not isinstance(text, str):
            continue
        asked = ASKED.findall(text)
        if not asked and (_USER.search(text) or _PARAMETER.search(text)):
            raise InputError(
                f"{source}: {'.'.join(map(str, place))}={hide(text)}: its credential would be "
                "stored with the run: put the whole address into an environment variable, and "
                "write ${oc.env:NAME}"
            )
        # The name of a run is seen by everybody who lists its folder.
        is_open = for_script or place == ("run_dir",)
        for name, _ in asked:
            value = os.environ.get(name, "")
            if _is_secret(name, value) or (not is_open and _may_be_secret(value)):
                _asked_for[value] = f"${{oc.env:{name}}}"
                _known.cache_clear()


def remember(written: Mapping[Place, object], resolved: Mapping[Place, object]) -> None:
    """Keep how the texts of a configuration were written that ask for variables.

    Numbers are no secrets, and a run whose folder does not tell them opens in no other shell.

    Args:
        written: the leaves by their place, as in the file.
        resolved: the same, with what the variables hold.
    """
    for place, text in written.items():
        if asks(text) and isinstance(resolved.get(place), str):
            _written[place, resolved[place]] = text


def require_none(script: str) -> None:
    """Raise `InputError` where a job's script would hold a secret."""
    for value, written in _values().items():
        name = ASKED.findall(written)[0][0]
        if _is_secret(name, value) and value in script:
            raise InputError(
                f"the job's script would hold the secret {written}: take it out of the profile and "
                "of run_dir: a job has the variables of the shell that submits it"
            )


def as_stored(tree: object, place: Place = ()) -> object:
    """Nested dicts and lists with `${oc.env:NAME}` for what was asked of the environment. `place`:
    of `tree` in the configuration."""
    if isinstance(tree, dict):
        return {key: as_stored(value, (*place, key)) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [as_stored(value, (*place, i)) for i, value in enumerate(tree)]
    text = _written.get((place, tree), tree)
    return _masked(text) if isinstance(text, str) else text


def asks(value: object) -> TypeGuard[str]:
    """Whether a value, as it was written, asks for an environment variable."""
    return isinstance(value, str) and bool(ASKED.search(value))


def is_unset(text: object) -> bool:
    """Whether a value asks for a variable that is not set, and names nothing in its place."""
    asked = ASKED.findall(text) if isinstance(text, str) else []
    return any(not comma and name not in os.environ for name, comma in asked)


def _is_secret(name: str, value: str) -> bool:
    return bool(_NAME.search(name)) and len(value) >= SHORTEST and value[0] != "/"


def _may_be_secret(value: str) -> bool:
    is_address = _USER.search(value) or _PARAMETER.search(value)
    return bool(is_address) or (len(value) >= SHORTEST and not re.search(r"[/\s]", value))


def _values() -> dict[str, str]:
    """Everything to hide, and what is shown instead."""
    named = {v: f"${{oc.env:{name}}}" for name, v in os.environ.items() if _is_secret(name, v)}
    return named | _asked_for


def _masked(text: str) -> str:
    """With the variable's name in place of each secret."""
    secrets = _known()
    return secrets.sub(lambda match: _values()[match[0]], text) if secrets else text


@cache
def _known() -> re.Pattern[str] | None:
    """All of them in one pattern, long ones first."""
    values = sorted(_values(), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, values))) if values else None
