"""What is predicted from what, and how its files and texts are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Optional

from configs.checks import (
    require,
    require_between,
    require_choice,
    require_encoding,
    require_fraction,
    require_visible,
)

STEPS = (
    *("entities", "lowercase", "links", "mentions", "hashtags", "hashtag-words"),
    *("trailing-hashtags", "numbers", "punctuation", "emoji", "stop-words", "spaces"),
)
PRESETS = {
    "none": (),
    "classical": (
        *("entities", "links", "mentions", "hashtag-words", "lowercase"),
        *("emoji", "numbers", "punctuation", "stop-words", "spaces"),
    ),
    "transformer": ("entities", "links", "trailing-hashtags", "punctuation", "spaces"),
}

METRICS = {
    "classification": ("accuracy", "macro_f1", "matthews", "f1"),
    "regression": ("pearson", "spearman"),
    "span": ("f1", "exact"),
    "choice": ("accuracy",),
    "tagging": ("f1", "precision", "recall", "accuracy"),
}
SUBMISSIONS = (
    *("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI-m", "MNLI-mm", "QNLI", "RTE", "WNLI"),
    "AX",
)
"""files that GLUE's server takes (gluebenchmark.com/faq)"""


@dataclass(frozen=True)
class PreprocessConfig:
    """What is done to a text before it is tokenised."""

    preset: Literal["none", "classical", "transformer"] = "none"
    """a named list of steps; `steps` replaces it"""
    steps: Optional[list[str]] = None
    """steps of your own choice, in order: entities (&amp; as &); lowercase; links, mentions,
    hashtags (removed whole); hashtag-words (the word stays, # goes); trailing-hashtags (the block
    at the end goes, # of the others too); numbers; punctuation; emoji; stop-words (English);
    spaces (repeated ones)"""
    stop_words: Literal["nltk", "scikit-learn", "none"] = "nltk"
    """which words the step stop-words removes: NLTK's 179, scikit-learn's 318 (empty, serious and
    cannot among them), or none: the step is left out"""
    minimum_words: int = 0
    """texts with fewer words after these steps are left out of training and marked in evaluation;
    in scripts without spaces (Chinese, kana, Thai, ...) each letter counts as a word"""

    def __post_init__(self) -> None:
        unknown = [step for step in self.steps or () if step not in STEPS]
        require(
            not unknown,
            f"task.preprocess.steps: no step is called {unknown[:1]}: choose from "
            f"{', '.join(STEPS)}",
        )
        require(self.minimum_words >= 0, "task.preprocess.minimum_words must not be negative")

    @property
    def names(self) -> tuple[str, ...]:
        """The steps to take, in order."""
        names = PRESETS[self.preset] if self.steps is None else tuple(self.steps)
        left_out = "stop-words" if self.stop_words == "none" else None
        return tuple(name for name in names if name != left_out)

    @property
    def words(self) -> str:
        """The steps for people to read, with the list of stop words; `none` without any."""
        shown = {"stop-words": f"stop-words ({self.stop_words})"}
        return ", ".join(shown.get(name, name) for name in self.names) or "none"


@dataclass(frozen=True)
class TaskConfig:
    """What is predicted from what, and where the examples are."""

    name: str = "task"
    """for tables and titles"""
    kind: Literal["classification", "regression", "span", "choice", "tagging"] = "classification"
    """one label a text or pair (BERT, figure 4 a and b); a number; a span of a context (c); one of
    several options; a label a word (d)"""
    folder: str = "."
    """where the files below are"""
    train: str = "train.csv"
    """labelled examples to learn from: csv, tsv, json, jsonl, also .gz, .xz or .bz2; SQuAD's json
    for span, RACE's json or jsonl for choice, CoNLL's columns for tagging"""
    dev: Optional[str] = None
    """examples to choose by; null: `dev_fraction` of train, stratified, by a hash of the content"""
    test: Optional[str] = None
    """examples to score once, at the end; a file without the column of labels, as GLUE's, is
    answered only"""
    further: dict[str, Optional[str]] = field(default_factory=dict)
    """further files to score, or to answer only, once at the end: {dev_mismatched: FILE}; null
    removes one"""
    submission: dict[str, Optional[str]] = field(default_factory=dict)
    """answers to write for GLUE's server, by the file that they are for: {test: CoLA}; of files
    without labels only; null removes one"""
    dev_fraction: float = 0.1
    """share of train held out where there is no dev file; for span, share of the articles"""
    encoding: Optional[str] = None
    """encoding of the files, by its name in Python (cp1252, cp949, ...); null: UTF-8; a byte order
    mark in a file outranks it"""
    most_bad_rows: float = 0.01
    """share of bad rows, which are counted in a note, beyond which a file is refused: those with
    bytes that are no characters of the encoding (they become U+FFFD), without a label or with
    another number of fields than the header (left out), without a text (left out of train, scored
    elsewhere)"""
    repair_controls: bool = True
    """control characters U+0080 to U+009F become the Windows-1252 characters that they were meant
    as (quotes, dashes, ellipsis), and are counted; false: they stay"""
    columns: Optional[list[str]] = None
    """names of the columns where the files have no header line; a file whose first line holds the
    names of the text columns has one all the same (CoLA's test.tsv)"""
    text: str = "text"
    """column of the text, or of the first of a pair"""
    text_pair: Optional[str] = None
    """column of the second text of a pair"""
    label: str = "label"
    """column of the label or number"""
    labels: Optional[list[str]] = None
    """all labels, in the order of tables; null: those of train, sorted, numbers by value"""
    no_label: list[str] = field(default_factory=list)
    """what stands in the column of labels where a row has none, e.g. SNLI's `-`: such rows are left
    out and counted; an empty cell, `-` and `nan` mean none even unnamed, unless `labels` or `merge`
    has them, but then only up to `most_bad_rows`"""
    merge: dict[str, str] = field(default_factory=dict)
    """labels to count as others, e.g. {Extremely Positive: Positive}"""
    unmerged: Optional[str] = None
    """name of the task with all labels: the model then learns those, merged ones add up their
    probabilities, and both tasks are scored; null: labels are merged before anything is learnt"""
    metric: Optional[str] = None
    """what dev scores are compared by: accuracy, macro_f1, matthews, or with two labels f1 of the
    second (classification); pearson, spearman (regression); f1, exact (span); accuracy (choice);
    f1, precision, recall, accuracy (tagging); null: the first of the kind"""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    stride: int = 64
    """span, tagging: tokens by which the windows over a long context or sentence overlap, at most
    half of a window"""
    longest_answer: int = 30
    """span: longest answer in tokens"""
    no_answer: bool = False
    """span: questions may have none (SQuAD 2.0); its threshold is chosen on dev"""
    span_metric: Literal["squad", "korquad"] = "squad"
    """span: whose official rules score answers: SQuAD's, F1 of words, or KorQuAD's, F1 of
    characters with Korean quotes and brackets blanked"""
    joined_characters: bool = False
    """tagging: the rows are characters, spaces included (KLUE NER), not words; the tokenizer sees
    the whole sentence, and scores are per character"""

    def __post_init__(self) -> None:
        for name in ("name", "folder", "train", "dev", "test"):
            require_visible(f"task.{name}", getattr(self, name))
        for name, file in self.further.items():
            require_visible(f"task.further.{name}", file)
        no_score = f"is no score of task.kind={self.kind}"
        require_choice("task.metric", self.metric, METRICS[self.kind], no_score)
        require_between("task.dev_fraction", self.dev_fraction, 0, 0.5)
        require_encoding("task.encoding", self.encoding)
        require_fraction("task.most_bad_rows", self.most_bad_rows)
        names = self.columns or []
        twice = sorted({name for name in names if names.count(name) > 1})
        require(not twice, f"task.columns names {twice[:1]} twice: names must differ")
        for name in self.further:
            require(
                name not in ("train", "dev", "test") and name.replace("_", "").isalnum(),
                f"task.further: '{name}' must be of letters, digits and _, and neither train nor "
                "dev nor test",
            )
        require(self.longest_answer >= 1, "task.longest_answer must be at least 1")
        require(self.stride >= 0, "task.stride must not be negative")
        require(
            self.span_metric == "squad" or self.kind == "span",
            f"task.span_metric={self.span_metric} is for task.kind=span",
        )
        require(
            self.unmerged is None or (self.kind == "classification" and bool(self.merge)),
            "task.unmerged needs task.merge: say which labels are merged",
        )
        self._check_labels()

    def _check_labels(self) -> None:
        labels = self.labels or []
        for name, values in (
            ("labels", labels),
            ("merge", [*self.merge, *self.merge.values()]),
            ("no_label", self.no_label),
        ):
            padded = [value for value in values if value != value.strip()]
            require(
                not padded,
                f"task.{name}: {padded[:1]} has spaces around it, which are cut from labels as "
                "they are read: write it without",
            )
        twice = [label for place, label in enumerate(labels) if label in labels[:place]]
        require(not twice, f"task.labels: {twice[:1]} occurs twice: remove one")
        both = [label for label in self.no_label if label in (*labels, *self.merge)]
        require(not both, f"task.no_label: {both[:1]} is a label too: name it in one place")
        require(
            self.kind != "tagging" or not labels or "O" in labels,
            "task.labels: tagging needs the label O, that of words outside of all entities",
        )
        for old, new in self.merge.items():
            require(
                new not in self.merge or new == old,
                f"task.merge: {old} becomes {new}, which becomes {self.merge.get(new)}: write "
                f"{old}: {self.merge.get(new)}",
            )
            require(
                self.labels is None or new in self.labels,
                f"task.merge: {old} becomes {new}, which task.labels does not name",
            )
        self._check_submission()

    def _check_submission(self) -> None:
        for name, task in self.submission.items():
            require(
                name in ("test", *self.further) or not task,
                f"task.submission: '{name}' is neither test nor one of task.further",
            )
            require_choice(f"task.submission.{name}", task, SUBMISSIONS, "is none of GLUE's")
        require(
            self.kind in ("classification", "regression") or not any(self.submission.values()),
            f"task.submission is for classification and regression, not for task.kind={self.kind}",
        )

    @property
    def evaluated(self) -> dict[str, str]:
        """Names of dev, test and further files, those there are."""
        files = {"dev": self.dev, "test": self.test, **self.further}
        return {name: file for name, file in files.items() if file}
