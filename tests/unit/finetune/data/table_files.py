"""Reading tables in tests."""

from __future__ import annotations

from pathlib import Path

from finetune.data.tables import TableFile, read_table
from pretrain.text.encoding import Encoding

PAGE = "text,label\r\nhello,0\r\n"


def read(path: Path, **options) -> tuple[TableFile, list[str]]:
    """(the table, the notes of reading it)."""
    encoding = Encoding(**options)
    return read_table(path, encoding=encoding), encoding.notes
