"""How many files a process may have open: sockets to other ranks, pipes and folders count, too."""

from __future__ import annotations

import errno
import os
import resource

from configs.checks import require

WANTED = 4096
"""that every command asks to be allowed"""
OF_A_START, OF_A_RANK = 48, 4
"""what a run of small text opens at most, rounded up: by itself, and for each rank that it joins"""
CURE = f"raise the limit, for example by `ulimit -n {WANTED}`"


def allow_open_files() -> None:
    """Raise this process's limit as far as it may by itself; what it starts inherits that."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if most == resource.RLIM_INFINITY else min(most, WANTED)
    if 0 <= soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def require_open_files(ranks: int) -> None:
    """Raise `InputError` where `ranks` could not even join: gloo's threads would abort."""
    limit, needed = _limit(), OF_A_START + OF_A_RANK * ranks
    require(
        limit >= needed,
        f"at most {limit} files may be open (`ulimit -n`), {ranks} ranks need {needed}: {CURE}",
    )


def lack_of_open_files(error: BaseException | None) -> str | None:
    """What to do where too many files were open, be it in a library; None: it is not that."""
    while error is not None:
        is_known = getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE)
        if is_known or os.strerror(errno.EMFILE) in str(error):
            return (
                f"too many open files: at most {_limit()} may be (`ulimit -n`; of the whole "
                f"machine: fs.file-max): {CURE}"
            )
        error = error.__cause__ or error.__context__
    return None


def _limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft
