"""The commands of a grid's file, as words.

A line is taken apart as a shell would, by quotes, blanks and backslashes, and nothing in it is
evaluated: `$(...)` is text. Lines that are empty or begin with # are left out and not counted.

On a node, for a file that was queued by hand, `command_words.py FILE N` prints the words of the Nth
command, each ended by a NUL, behind an empty one: the run folder, which its configuration knows.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

if not __package__:  # a script's own folder would hide packages of the same names
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from configs.errors import InputError
from configs.system.safe_text import first_hidden, visible

KINDS = ("pretrain", "finetune")
CURE = "write launch/pretrain.py --config NAME [key=value ...], or the same with finetune.py"


def read_words(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The place (file and line) and the words of each command: script, --config, NAME, fields.

    Raises:
        InputError: no such file, no UTF-8, a line that is no command of a grid, or none at all.
    """
    if not path.is_file():
        raise InputError(f"--config {visible(path)}: no such file of commands")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start:,} is no UTF-8: write it anew") from error
    lines = [(n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    lines = [(n, line) for n, line in lines if not line.strip().startswith("#")]
    if not lines:
        raise InputError(f"{path} holds no command: write e.g. launch/pretrain.py --config NAME")
    for number, line in lines:
        place = f"{path}, line {number}"
        yield place, _split(line.strip(), place)


def _split(line: str, place: str) -> list[str]:
    hidden = first_hidden(line.replace("\t", " "))
    if hidden:
        raise InputError(f"{place} holds {hidden}, which cannot be seen: write it without")
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from error
    words = words[1:] if words[0] in ("python", "deepspeed") else words
    script, option, name = [*words[:3], "", "", ""][:3]
    kind = Path(script).stem
    if kind not in KINDS or not script.endswith(".py") or option != "--config" or not name:
        raise InputError(f"{place}: '{visible(line)}' is no command of a grid: {CURE}")
    if any(word.startswith("-") for word in words[3:]):
        raise InputError(f"{place}: a command of a grid has one option, --config: {CURE}")
    return [f"launch/{kind}.py", *words[1:]]


def main() -> None:
    """Print the words of one command."""
    path, number = Path(sys.argv[1]), int(sys.argv[2])
    commands = [words for _, words in read_words(path)]
    if not 1 <= number <= len(commands):
        raise InputError(f"{path} holds {len(commands)} commands: there is none of number {number}")
    sys.stdout.write("".join(f"{word}\0" for word in ["", *commands[number - 1]]))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {visible(error)}")
