"""What the packages log, and what may fail without ending a run.

Each module logs to `logging.getLogger(__name__)`, and whoever imports it hears nothing unasked.
INFO is the course of a run, `PROGRESS` what a process does or waits for meanwhile, WARNING a remark
on what was read or could not be done. `launch/command.py` shows them to people.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from configs.errors import RunError

PROGRESS = logging.INFO + 5
"""the level of what goes to standard error although it is no remark"""
EVERY_RANK = {"of_every_rank": True}
"""`extra` of an INFO that is of its rank alone; of others, people see rank 0's"""
LONGEST = 400
"""characters of a reason"""

logger = logging.getLogger(__name__)


@cache
def warn_once(text: str) -> None:
    """A warning, once in a process."""
    logger.warning(text)


@contextmanager
def optional(what: str) -> Iterator[None]:
    """Let a report fail, told in one line: none is worth the run that it is about.

    For plots, pages, TensorBoard and whatever else can be made again from what is kept.
    """
    try:
        yield
    except RunError:  # the run itself has failed: its folder is lost
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:LONGEST] or type(error).__name__
        logger.warning(f"{what} could not be made ({reason}); everything else continues")
