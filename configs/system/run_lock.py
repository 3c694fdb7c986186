"""One owner of a run folder: `<run_dir>/lock`, held as long as the run lives.

The system's lock (flock) decides, and is let go when the last process that has the descriptor
closes it or dies, however suddenly; the file stays, for an owner to be known by. Where a file
system keeps no such locks, the file's content decides (`Holder.death`), and a heartbeat.

Of many ranks the first one holds the lock; all of them know its token, and write nothing into the
folder any more once another token stands in it (`require_ours`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import InputError, RunError
from configs.system.lock_holder import Holder
from configs.system.notes import EVERY_RANK
from configs.system.run_names import LOCK

logger = logging.getLogger(__name__)

INHERITED = "MASKLAB_LOCK"
"""environment variable: number of the descriptor by which a driver hands a lock to its child"""
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""what a file system says that keeps no locks"""
POLL_SECONDS, BEAT_SECONDS, RACE_SECONDS = 0.1, 20.0, 0.5
SHORT_PATIENCE = 3.0
"""for the predecessor that was just told to leave"""
LONG_PATIENCE = 180.0
"""for a server of files to notice that the predecessor's node is lost"""

_open: set[int] = set()
"""descriptors of this process's locks"""
_claims: dict[Path, str] = {}
"""run folder -> token, of the runs that this process takes part in"""


class Taken(InputError):
    """Another process has the lock."""


class Lock:
    """A lock that this process holds."""

    def __init__(
        self, file: Path, descriptor: int, heartbeat: bool, made: tuple[Path, ...]
    ) -> None:
        """`made` are the folders that were made for it, the innermost first."""
        self.file, self.descriptor, self.holder = file, descriptor, Holder.here()
        self._made, self._over = made, threading.Event()
        os.set_inheritable(descriptor, False)
        _open.add(descriptor)
        self.holder.write(descriptor)
        if heartbeat:
            threading.Thread(target=self._beat, name="lock", daemon=True).start()

    @property
    def token(self) -> str:
        """What tells this holder from any other."""
        return self.holder.token

    def release(self, remove: bool = False) -> None:
        """Let go. `remove` takes the file away as well; where nothing came of the run in a new
        folder, it goes with all folders that were made for it."""
        alone = self._made and [path.name for path in self.file.parent.glob("*")] == [LOCK]
        if _is_at(self.descriptor, self.file):
            with contextlib.suppress(OSError):  # a full disk: the lock itself tells
                self.holder.at_end().write(self.descriptor)
            if alone or remove:
                self.file.unlink(missing_ok=True)
            if alone:
                with contextlib.suppress(OSError):
                    for folder in self._made:
                        folder.rmdir()
        self.hand_over()

    def hand_over(self) -> None:
        """Leave the lock to the child that has inherited the descriptor."""
        self._over.set()
        _open.discard(self.descriptor)
        os.close(self.descriptor)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self.descriptor)


def take(folder: Path, patience: float = 0.0) -> Lock:
    """The lock of a run folder, which is made if it is not there; raises as `take_file` does."""
    folder = _absolute(folder)
    made = tuple(path for path in (folder, *folder.parents) if not path.exists())
    folder.mkdir(parents=True, exist_ok=True)
    return take_file(folder / LOCK, str(folder), patience, made)


def take_file(file: Path, what: str, patience: float = 0.0, made: tuple[Path, ...] = ()) -> Lock:
    """The lock `file` of `what`, once it is free; raises `Taken`: after `patience` seconds it is
    still another's; names the holder."""
    end, is_announced = time.monotonic() + patience, False
    while True:
        lock = _adopt(file) or _try(file, made)
        if lock is not None:
            return lock
        holder = Holder.read(file) or "a process that has not said who it is"
        if time.monotonic() >= end:
            raise Taken(
                f"{what}: another process works on it ({holder}): wait for its end, stop it, or "
                "choose another folder"
            )
        if patience > SHORT_PATIENCE and not is_announced:
            is_announced = True
            text = f"{what}: waiting up to {patience:.0f} s for its lock ({holder})"
            logger.info(text, extra=EVERY_RANK)
        time.sleep(POLL_SECONDS)


def patience() -> float:
    """Seconds to wait for a predecessor's lock: a requeued job's may be on a node that was lost."""
    restarts = os.environ.get("SLURM_RESTART_COUNT", "")
    follows = bool(restarts.strip("0")) or bool(os.environ.get("MASKLAB_FOLLOWS"))
    return LONG_PATIENCE if follows else SHORT_PATIENCE


def find_holder(folder: Path) -> Holder | None:
    """Who works on a run folder; None: nobody. Nothing is written or made."""
    file = folder / LOCK
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    holder = Holder.read(file)
    try:
        got = _flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)
    if got is None:
        return None if holder is None or holder.death(file) else holder
    return None if got else holder or Holder("a host that has not said its name", 0, "", "now")


def is_taken(folder: Path) -> bool:
    """Whether a process works on the folder."""
    return find_holder(folder) is not None


@contextmanager
def exclusive(folder: Path, patience: float = SHORT_PATIENCE) -> Iterator[None]:
    """Alone in writing a folder that is replaced as a whole: its lock lies beside it, and goes."""
    folder = _absolute(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = take_file(folder.with_name(f".{folder.name}.lock"), str(folder), patience)
    try:
        yield
    finally:
        lock.release(remove=True)


@contextmanager
def claimed(folder: Path, token: str) -> Iterator[None]:
    """Take part, in this process, in the run that took `folder` with `token`."""
    folder = _absolute(folder)
    _claims[folder] = token
    try:
        yield
    finally:
        del _claims[folder]


def require_ours(path: Path) -> None:
    """Raise `RunError` where `path` lies in a folder of a run of this process, which has lost it:
    nothing more may be written there."""
    path = _absolute(path)
    for folder, token in list(_claims.items()):
        if not path.is_relative_to(folder):
            continue
        holder = Holder.read(folder / LOCK)
        if holder is None:
            raise RunError(
                f"{folder}: the run's folder, or the lock in it, was deleted or moved while the "
                "run was at work: nothing more is written; start it again where its folder is"
            )
        if holder.token != token:
            raise RunError(
                f"{folder}: the run has a new owner ({holder}): this one writes nothing more"
            )


def _flock(descriptor: int, kind: int) -> bool | None:
    """Whether the system gave us the lock; None where the file system keeps none."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None
    return True


def _try(file: Path, made: tuple[Path, ...]) -> Lock | None:
    """The lock, or None where another process has it."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            got = _flock(descriptor, fcntl.LOCK_EX)
            if got is False or (got is None and not _is_free_by_its_word(file)):
                return None
            # Who had it before may have removed the file: another process can lock a new one.
            if _is_at(descriptor, file):
                lock = Lock(file, os.dup(descriptor), got is None, made)
                return lock if got or _has_won(lock) else None
        finally:
            os.close(descriptor)


def _is_free_by_its_word(file: Path) -> bool:
    """For file systems without locks: what the file says, told to people where it was decided."""
    holder = Holder.read(file)
    if holder is None:
        return True
    death = holder.death(file)
    if death and not holder.ended:
        text = f"{file}: left behind by {holder}, {death}: taking it over"
        logger.info(text, extra=EVERY_RANK)
    return bool(death)


def _has_won(lock: Lock) -> bool:
    """Whether, of two that took a lock at once by its word, this one wrote last."""
    # Both have found the old holder dead and have written their own names: what stands there after
    # either has had the time to write is the last one's, and both read the same.
    time.sleep(RACE_SECONDS)
    holder = Holder.read(lock.file)
    if holder and holder.token == lock.token:
        return True
    lock.hand_over()
    return False


def _adopt(file: Path) -> Lock | None:
    """The lock that the parent took and handed on, if it is this one."""
    number = os.environ.get(INHERITED, "")
    if not number.isdigit() or not _is_at(int(number), file):
        return None
    del os.environ[INHERITED]
    got = _flock(int(number), fcntl.LOCK_EX)
    return None if got is False else Lock(file, int(number), got is None, ())


def _is_at(descriptor: int, file: Path) -> bool:
    """Whether a descriptor is of the file that lies at this path now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(file))
    except OSError:
        return False


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _forget() -> None:
    """In a forked child, which would otherwise hold its parent's locks after the parent's death."""
    for descriptor in _open:
        os.close(descriptor)
    _open.clear()


os.register_at_fork(after_in_child=_forget)
