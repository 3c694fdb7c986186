"""Task files in the layouts of their releases, with made-up rows and the released files' oddities:
literal quotes, a byte order mark, tests with other columns than train, rows that are cut short."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

Row = tuple[str, ...]
ROWS, TESTED = 240, 7
"""of train and dev, of a test file"""
PARSES = ("sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse", "sentence2_parse")
MNLI = ("index", "promptID", "pairID", "genre", *PARSES, "sentence1", "sentence2")
STSB = ("index", "genre", "filename", "year", "old_index", "source1", "source2")
WAYS = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class Released:
    """How a task's files look."""

    folder: str
    columns: tuple[str, ...]
    test_columns: tuple[str, ...]
    labels: tuple[str, ...] = ("0", "1")
    answers: str = ""
    """the server's file; else named as the folder"""
    has_header: bool = True
    start: str = ""
    """of every file"""
    end: str = "\n"
    """of lines"""


PAIR = ("sentence1", "sentence2")
GLUE = {
    "cola": Released(
        "CoLA", ("source", "label", "mark", "sentence"), ("index", "sentence"), has_header=False
    ),
    "sst2": Released("SST-2", ("sentence", "label"), ("index", "sentence")),
    "mrpc": Released(
        "MRPC",
        ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"),
        ("index", "#1 ID", "#2 ID", "#1 String", "#2 String"),
        start="\ufeff",
        end="\r\n",
    ),
    "stsb": Released("STS-B", (*STSB, *PAIR, "score"), (*STSB, *PAIR), ("5.000", "0.250", "3.2")),
    "qqp": Released(
        "QQP",
        ("id", "qid1", "qid2", "question1", "question2", "is_duplicate"),
        ("id", "question1", "question2"),
    ),
    "mnli": Released("MNLI", (*MNLI, "label1", "gold_label"), MNLI, WAYS, answers="MNLI-m"),
    "qnli": Released(
        "QNLI",
        ("index", "question", "sentence", "label"),
        ("index", "question", "sentence"),
        ("entailment", "not_entailment"),
    ),
    "rte": Released(
        "RTE", ("index", *PAIR, "label"), ("index", *PAIR), ("entailment", "not_entailment")
    ),
    "wnli": Released("WNLI", ("index", *PAIR, "label"), ("index", *PAIR)),
}
TEXTS = {"sentence", "sentence1", "sentence2", "question", "question1", "question2"}
TEXTS |= {"#1 String", "#2 String"}
LABELS = {"label", "Quality", "score", "is_duplicate", "gold_label", "label1", "label2", "label3"}
LABELS |= {"label4", "label5"}


def text(column: str, number: int) -> str:
    """A text with a quote that nobody closes, and a no-break space."""
    return f'"{column} {number}, he said: ""why\u00a0not? no, 7" of it'


def rows(released: Released, columns: tuple[str, ...], number: int) -> list[Row]:
    """Made-up rows of these columns."""

    def cell(column: str, row: int) -> str:
        if column in TEXTS:
            return text(column, row)
        if column in LABELS:
            return released.labels[row % len(released.labels)]
        return "" if column == "mark" else str(row) if column in ("index", "id") else f"x{row}"

    return [tuple(cell(column, row) for column in columns) for row in range(number)]


def write(path: Path, released: Released, columns: tuple[str, ...], lines: list[Row]) -> Path:
    """A file of these rows; one without a header if the labels' files have none."""
    has_header = released.has_header or columns == released.test_columns
    every = [columns, *lines] if has_header else lines
    content = "".join("\t".join(line) + released.end for line in every)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((released.start + content).encode())
    return path


def write_glue(root: Path, task: str, number: int = ROWS, tested: int = TESTED) -> Path:
    """GLUE's folder of a task, with a test file (MNLI: two, and the diagnostic set beside it)."""
    released = GLUE[task]
    folder, columns = root / released.folder, released.columns
    train = rows(released, columns, number)
    if task == "qqp":  # as its rows 83,034 and others
        train[5] = train[5][:3]
        train[7] = (*train[7][:4], "", "0")
    write(folder / "train.tsv", released, columns, train)
    dev, test = ["dev"], ["test"]
    if task == "mnli":
        kinds = ("matched", "mismatched")
        dev, test = ([f"{name}_{kind}" for kind in kinds] for name in ("dev", "test"))
        columns = (*MNLI, *(f"label{n}" for n in range(1, 6)), "gold_label")
        diagnostic = ("index", *PAIR)
        lines = rows(released, diagnostic, tested)
        write(root / "diagnostic" / "diagnostic.tsv", released, diagnostic, lines)
    for place, name in enumerate(dev):
        write(folder / f"{name}.tsv", released, columns, rows(released, columns, number + place))
    for place, name in enumerate(test):
        lines = rows(released, released.test_columns, tested + place)
        write(folder / f"{name}.tsv", released, released.test_columns, lines)
    return folder


def overrides(task: str, folder: Path) -> list[str]:
    """What makes a task's configuration read that folder with all its files."""
    if task != "mnli":
        return [f"task.folder={folder}", "task.test=test.tsv"]
    return [
        f"task.folder={folder}",
        "task.test=test_matched.tsv",
        "task.further.test_mismatched=test_mismatched.tsv",
        "task.further.diagnostic=../diagnostic/diagnostic.tsv",
    ]
