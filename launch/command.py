"""What all commands share: configuration on the command line, the console, errors in one line,
exit codes."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from configs.ablation_schema import AblationConfig
from configs.checks import require
from configs.described import describe
from configs.errors import InputError, RunError
from configs.families import export_note
from configs.finetune_schema import FinetuneConfig
from configs.loader import Schema, dump_config, load_config, shipped_configs
from configs.schema import PretrainConfig
from configs.system.files import disk_explained, disk_trouble, write_text
from configs.system.notes import PROGRESS
from configs.system.open_files import allow_open_files, lack_of_open_files
from configs.system.safe_text import VisibleStream, visible
from configs.system.secrets import hide
from configs.system.version import PACKAGES
from pretrain.ranks.leaving import LEAVING, Leave
from pretrain.ranks.preemption import Preempted
from pretrain.ranks.process import let_waiting_threads_sleep

if TYPE_CHECKING:  # importing torch takes seconds, and a wrong option should be told at once
    from pretrain.ranks.world import World

logger = logging.getLogger(__name__)

RankConfig = TypeVar("RankConfig", PretrainConfig, FinetuneConfig)
"""what several ranks train by"""
NO_FIT_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP),
)
"""what the system says of files and folders that a user named and that cannot be used"""
LONGEST_MESSAGE = 800
LONGEST_WAIT = 60
"""seconds for which a rank that cannot start waits for the others, to tell them why"""


def config_parser(program: str, purpose: str, schema: type) -> argparse.ArgumentParser:
    """A parser with --config, --print-config and key=value overrides; --help lists all fields."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=purpose,
        epilog=fields_help(schema),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, text = parser.add_argument, f"shipped: {', '.join(_fitting_configs(schema))}"
    add("--config", required=True, metavar="NAME|PATH", help=f"{text}; or a YAML of your own")
    text = "print the resolved configuration and stop"
    add("--print-config", action="store_true", help=text)
    # DeepSpeed's launcher adds this; LOCAL_RANK says the same.
    add("--local_rank", type=int, help=argparse.SUPPRESS)
    add("overrides", nargs="*", metavar="key=value", help="fields listed below")
    return parser


def read_config(arguments: argparse.Namespace, schema: type[Schema]) -> Schema:
    """The configuration that the parsed command line asks for; prints it on --print-config.

    Rank 0 tells where no class of transformers will hold the model: before it is trained.
    """
    config = load_config(schema, arguments.config, arguments.overrides)
    note = export_note(config.model) if isinstance(config, PretrainConfig) else None
    if note and os.environ.get("RANK", "0") == "0":
        logger.warning(note)
    if arguments.print_config:
        print(dump_config(config), end="")
        raise SystemExit(0)
    return config


def read_and_join(
    parser: argparse.ArgumentParser, schema: type[RankConfig]
) -> tuple[RankConfig, World]:
    """(the configuration, this process among the other ranks).

    A rank that cannot read its configuration joins the others all the same, as they would wait long
    for one that has gone. Then all of them end with its message.
    """
    config: RankConfig | None = None
    failure: InputError | None = None
    try:
        config = read_config(parser.parse_intermixed_args(), schema)
    except InputError as error:
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            raise
        failure = error
        timer = threading.Timer(LONGEST_WAIT, _leave, (error, 2))
        timer.daemon = True
        timer.start()

    from pretrain.ranks import world
    from pretrain.ranks.agreement import failing_together

    ranks = world.start(config.collective.algorithm if config else "auto")
    with failing_together(ranks):
        if failure:
            raise failure
    assert config is not None
    return config, ranks


def require_at_least_1(arguments: argparse.Namespace, *names: str) -> None:
    """Raise `InputError` for a number of the command line that is given and is less."""
    for name in names:
        value = getattr(arguments, name)
        require(
            value is None or value >= 1, f"--{name.replace('_', '-')} {value} must be at least 1"
        )


def write_json(path: Path | None, content: object) -> None:
    """The results for programs, where --json has named a file."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(content, indent=1) + "\n")


def run(main: Callable[[], None]) -> None:
    """Call `main`; bad input ends in one line and exit code 2, a failed run in one and code 1.

    A run that was asked to leave, and is saved, has not failed: code 0. Whatever is printed until
    then, by libraries as well, shows control characters instead of sending them to the terminal.
    """
    let_waiting_threads_sleep()
    allow_open_files()
    LEAVING.hand_over()
    _show_safely()
    show_logs()
    try:
        main()
        with disk_explained("standard output"):
            sys.stdout.flush()
        LEAVING.finish()
    except Preempted as left:
        print(left, flush=True)
        os._exit(0)
    except InputError as error:
        _leave(error, 2)
    except RunError as error:
        _leave(error, 1)
    except KeyboardInterrupt:
        LEAVING.end_interrupted()
    except Leave:
        LEAVING.end()
    except Exception as error:
        if LEAVING.is_asked:  # what fails now fails for that
            LEAVING.end()
        if lack := lack_of_open_files(error):
            _leave(lack, 2)
        if isinstance(error, BrokenPipeError):
            _leave("standard output: its reader has gone, and has not got everything", 1)
        place = getattr(error, "filename", None)
        if trouble := disk_trouble(error):
            _leave(f"{place or 'a file'}: {trouble}", 2)
        if isinstance(error, OSError) and _is_no_fit_place(error):
            _leave(f"{place}: {error.strerror}: name another file or folder", 2)
        _let_rank_0_speak()
        raise
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Threads of the process group may abort an interpreter that ends with everything done.
        os._exit(0)


def _show_safely() -> None:
    """Let standard output and error show control characters; a closed one drops what it gets."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        setattr(sys, name, VisibleStream(stream))


def _is_no_fit_place(error: OSError) -> bool:
    """Whether a place that the user named cannot be used.

    Some file systems, such as /proc, answer "no such file" where a folder is to be made.
    """
    last = traceback.extract_tb(error.__traceback__)[-1].name
    return error.errno in NO_FIT_PLACE or (error.errno == errno.ENOENT and last == "mkdir")


def _leave(message: object, code: int) -> None:
    _let_rank_0_speak()
    rank = os.environ.get("RANK", "0")
    if rank == "0" or not getattr(message, "is_of_all_ranks", False):
        name = f"rank {rank}"
        where = "" if rank == "0" or str(message).startswith(name) else f"{name}: "
        said, half = visible(hide(str(message))), LONGEST_MESSAGE // 2
        if len(said) > LONGEST_MESSAGE:
            said = f"{said[:half]} ... {said[-half:]}"
        with suppress(OSError):
            print(f"error: {where}{said}", file=sys.stderr, flush=True)
    # A rank that waits in a collective must not keep this one from leaving.
    os._exit(code)


def _let_rank_0_speak() -> None:
    """Wait, on the other ranks, until the launcher ends them.

    Rank 0 mostly has the same error with its cause. A rank that sees only a broken connection would
    otherwise decide the exit code.
    """
    if os.environ.get("RANK", "0") != "0":
        with suppress(ValueError):  # not the main thread: a timer's
            LEAVING.stop_listening()
        time.sleep(5)


def _fitting_configs(schema: type) -> list[str]:
    """The shipped configurations of a schema: all but pretraining's have folders of their own."""
    own = {FinetuneConfig: "finetune/", AblationConfig: "ablations/"}.get(schema)
    if own:
        return [name for name in shipped_configs() if name.startswith(own)]
    others = ("finetune/", "ablations/", "clusters/")
    return [name for name in shipped_configs() if not name.startswith(others)]


def fields_help(schema: type, prefix: str = "") -> str:
    """Every field with its type, default and meaning, for the end of `--help`."""
    lines = ["fields (type; default):"]
    for field in describe(schema, prefix):
        lines.append(f"  {field.name} ({field.kind}; {field.default})")
        lines += textwrap.wrap(field.meaning, 88, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


class Console(logging.Handler):
    """The course of a run on standard output, told by rank 0; all else on standard error.

    A record's `begin` and `end` stand around its text in place of nothing and a line's end. The
    streams are looked up for each line, as tests and libraries replace them. A full disk under
    them ends no run.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        text = record.getMessage()
        if record.levelno < PROGRESS:
            if os.environ.get("RANK", "0") == "0" or hasattr(record, "of_every_rank"):
                self._print(text)
            return
        if record.levelno >= logging.WARNING:
            text = f"note: {' '.join(text.split())}"
        begin, end = getattr(record, "begin", ""), getattr(record, "end", "\n")
        with suppress(OSError, ValueError):
            print(f"{begin}{visible(text)}", end=end, file=sys.stderr, flush=True)

    def _print(self, text: str) -> None:
        """A line on standard output; once it cannot be written, none further is."""
        try:
            print(text, flush=True)
        except OSError as error:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            reason = f"standard output cannot be written ({error.strerror})"
            logging.getLogger(__name__).warning(f"{reason}; everything else continues")


CONSOLE = Console()


def show_logs() -> None:
    """From now on, people see what the packages log; libraries' handlers do not show it again."""
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.addHandler(CONSOLE)
        logger.setLevel(logging.INFO)
        logger.propagate = False
