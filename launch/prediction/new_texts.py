"""The texts that are to be answered: rows of a table, lines of a file or of standard input."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from configs.errors import InputError
from configs.system.notes import PROGRESS
from finetune.data.tables import suffix_of
from finetune.model.model_folder import FinetunedModel
from finetune.model.prediction import NewText, read_line_file, read_lines, read_rows
from pretrain.text.encoding import Encoding

logger = logging.getLogger(__name__)

STANDARD_INPUT = "-"
LINE_FILES = ("", ".txt")
"""endings of files without columns"""


def read_texts(
    source: str, model: FinetunedModel, column: str | None, encoding: Encoding
) -> Iterator[NewText]:
    """The rows or lines of `source`, a file or `STANDARD_INPUT`, in order.

    Args:
        column: of a table's texts; None: the task's own.
    Raises:
        InputError: there is no such file.
    """
    path = Path(source)
    if source == STANDARD_INPUT:
        if sys.stdin.isatty():
            logger.log(PROGRESS, "one text a line, please; Ctrl-D ends")
        decoder = encoding.decoder("standard input", "line", encoding.repairs)
        return read_lines(sys.stdin.buffer, decoder)
    if not path.is_file():
        raise InputError(f"--input {path}: no such file: check the path, or give - to type")
    if suffix_of(path) in LINE_FILES:
        return read_line_file(path, encoding)
    return read_rows(path, model, column, encoding)
