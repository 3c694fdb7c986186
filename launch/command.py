"""What all commands share: configuration on the command line, errors in one line, exit codes."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import textwrap
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from configs.ablation_schema import AblationConfig
from configs.errors import InputError, RunError
from configs.files import disk_explained, disk_trouble
from configs.finetune_schema import FinetuneConfig
from configs.loader import describe, dump_config, load_config, shipped_configs
from configs.open_files import allow_open_files, lack_of_open_files
from pretrain.engine.notice import Preempted
from pretrain.engine.process import let_waiting_threads_sleep

NO_FIT_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP),
)
"""what the system says of files and folders that a user named and that cannot be used"""
LONGEST_MESSAGE = 800


def config_parser(program: str, purpose: str, schema: type) -> argparse.ArgumentParser:
    """A parser with --config, --print-config and key=value overrides; --help lists all fields."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=purpose,
        epilog=fields_help(schema),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        required=True,
        metavar="NAME|PATH",
        help=f"shipped: {', '.join(_fitting_configs(schema))}; or a YAML of your own",
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print the resolved configuration and stop"
    )
    # DeepSpeed's launcher adds this; LOCAL_RANK says the same.
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="fields listed below")
    return parser


def read_config(arguments: argparse.Namespace, schema: type) -> Any:
    """The configuration that the parsed command line asks for; prints it on --print-config."""
    config = load_config(schema, arguments.config, arguments.overrides)
    if arguments.print_config:
        print(dump_config(config), end="")
        raise SystemExit(0)
    return config


def run(main: Callable[[], None]) -> None:
    """Call `main`; bad input ends in one line and exit code 2, a failed run in one and code 1.

    A run that was asked to leave, and is saved, has not failed: code 0.
    """
    let_waiting_threads_sleep()
    allow_open_files()
    try:
        main()
        with disk_explained("standard output"):
            sys.stdout.flush()
    except Preempted as left:
        print(left, flush=True)
        os._exit(0)
    except InputError as error:
        _leave(error, 2)
    except RunError as error:
        _leave(error, 1)
    except KeyboardInterrupt:
        _leave("interrupted; run the same command to go on from the last checkpoint", 130)
    except Exception as error:
        if lack := lack_of_open_files(error):
            _leave(lack, 2)
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


def _is_no_fit_place(error: OSError) -> bool:
    """Whether a place that the user named cannot be used.

    File systems that take no folders, such as /proc, say of a new one that it does not exist.
    """
    last = traceback.extract_tb(error.__traceback__)[-1].name
    return error.errno in NO_FIT_PLACE or (error.errno == errno.ENOENT and last == "mkdir")


def _leave(message: object, code: int) -> None:
    _let_rank_0_speak()
    with suppress(OSError):
        print(f"error: {_shortened(str(message))}", file=sys.stderr, flush=True)
    # A rank that waits in a collective must not keep this one from leaving.
    os._exit(code)


def _shortened(message: str) -> str:
    """The message without the middle of something endless that a user gave."""
    half = LONGEST_MESSAGE // 2
    return message if len(message) <= 2 * half else f"{message[:half]} ... {message[-half:]}"


def _let_rank_0_speak() -> None:
    """Wait, on other ranks: rank 0 mostly knows the same and better, and the launcher then ends us.

    A rank that sees only a broken connection would otherwise decide the exit code.
    """
    if os.environ.get("RANK", "0") != "0":
        time.sleep(5)


def _fitting_configs(schema: type) -> list[str]:
    """The shipped configurations of a schema: all but pretraining's have folders of their own."""
    own = {FinetuneConfig: "finetune/", AblationConfig: "ablations/"}.get(schema)
    if own:
        return [name for name in shipped_configs() if name.startswith(own)]
    others = ("finetune/", "ablations/", "clusters/")
    return [name for name in shipped_configs() if not name.startswith(others)]


def fields_help(schema: type, prefix: str = "") -> str:
    """Every field with its type and meaning, for the end of `--help`."""
    lines = ["fields:"]
    for name, kind, text in describe(schema, prefix):
        lines.append(f"  {name} ({kind})")
        lines += textwrap.wrap(text, 88, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)
