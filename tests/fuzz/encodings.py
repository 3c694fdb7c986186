"""Tables in many encodings: read as they were written, or counted, or refused in one line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.case import Case, Outcome
from tests.fuzz.materials import Materials

ENGLISH = ["it’s", "“good”", "–", "café", "naïve", "plain", "words", "here", "€5", "so…"]
WORDS = {
    "cp1252": ENGLISH,
    "latin-1": ["schöne", "Grüße", "über", "Straße", "été", "garçon", "plain", "words"],
    "euc-kr": ["오늘은", "날씨가", "정말", "좋네요", "영화", "최고", "plain"],
    "cp949": ["똠방각하", "뷁", "오늘은", "재미없다", "돈이", "아깝다"],
    "shift_jis": ["今日は", "表示", "ソース", "とても", "良い", "天気", "能力"],
    "gb18030": ["今天", "天气", "很好", "电影", "无聊", "𠀀"],
    "koi8-r": ["Сегодня", "хорошая", "погода", "фильм", "скучно"],
    "utf-16": [*ENGLISH, "오늘은", "今日は", "😀"],
}
UNICODE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
MARKED = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
"""read without being told"""
CONLL = "conll"
"""always in an encoding that is not told: a tagger takes a minute to train"""
TO_PREDICT = ("csv", "tsv", "json", "jsonl", "txt", "csv.gz", "txt.gz")
TO_LEARN = ("csv", "tsv", "json", "jsonl", "csv.gz", CONLL)
CUT, BYTES = "end inside a character", "hold bytes that are not"


@dataclass
class Written:
    """A file of texts, and what may be said of it."""

    path: Path
    texts: list[str]
    encoding: str
    told: str | None
    bad: dict[int, str] = field(default_factory=dict)
    """rows with bytes that are no characters: what is said of them"""
    most_bad: float = 0.01

    @property
    def is_readable(self) -> bool:
        """Whether the file's encoding is known, and few enough rows are bad."""
        is_known = self.told is not None or self.encoding in MARKED
        return is_known and len(self.bad) <= self.most_bad * len(self.texts)


def encoding(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """A table to predict from, or to learn from."""
    for_training = rng.random() < 0.3
    written = _write(rng, folder, for_training)
    what = (
        f"{written.path.name}, {len(written.texts)} rows in {written.encoding}, told "
        f"{written.told}, {len(written.bad)} bad, {written.most_bad} let pass"
    )
    words = _finetune(folder, materials, written) if for_training else _predict(materials, written)
    if not written.is_readable:
        return Case(what, words)
    check = _taught if for_training else _shown
    return Case(what, words, lambda outcome: check(outcome, written), refusable=False)


def _write(rng: random.Random, folder: Path, for_training: bool) -> Written:
    language = rng.choice(sorted(WORDS))
    suffix = rng.choice(TO_LEARN if for_training else TO_PREDICT)
    unmarked = language if language != "utf-16" else "utf-16-le"
    name = rng.choice(["utf-8", unmarked, rng.choice(UNICODE)]) if suffix != CONLL else unmarked
    texts = [" ".join(rng.choices(WORDS[language], k=rng.randint(2, 7))) for _ in range(200)]
    for place in range(0, len(texts), 9):  # no file is ASCII by chance
        texts[place] = f"{WORDS[language][0]} {texts[place]}"
    told = name if rng.random() < 0.6 and name not in MARKED and suffix != CONLL else None
    written = Written(folder / f"a.{suffix}", texts, name, told)
    lines = [_line(number, text, suffix) for number, text in enumerate(texts)]
    if name == "utf-8" and rng.random() < 0.7:
        written.most_bad = rng.choice([0.01, 0.01, 0.0, 1.0])
        count = rng.choice([1, 2, 3, 40])
        written.bad = {n: rng.choice([CUT, BYTES]) for n in rng.sample(range(len(texts)), count)}
    content = _joined(rng, lines, suffix, name, written.bad)
    written.path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    return written


def _line(number: int, text: str, suffix: str) -> str:
    """A row whose text ends in `@`, which bad bytes replace."""
    row = {"id": f"t{number}", "text": f"{text}@", "label": ("one", "two")[number % 2]}
    if suffix.startswith("json"):
        return json.dumps(row, ensure_ascii=False)
    if suffix.startswith("txt"):
        return row["text"]
    if suffix == CONLL:
        words = row["text"].split()
        return (
            "\n".join(f"{word}\t{'B-x' if n == 1 else 'O'}" for n, word in enumerate(words)) + "\n"
        )
    return (",", "\t")[suffix == "tsv"].join(row.values())


def _joined(
    rng: random.Random, lines: list[str], suffix: str, name: str, bad: dict[int, str]
) -> bytes:
    if suffix == "json":
        lines = [f"{line}," for line in lines[:-1]] + lines[-1:]
        before, after = ["["], ["]"]
    else:
        mark = "\t" if suffix == "tsv" else ","
        has_header = suffix[:3] in ("csv", "tsv")
        before, after = [mark.join(("id", "text", "label"))] if has_header else [], []
    end = rng.choice(["\n", "\r\n"])
    if not bad:
        whole = [*before, *(line.replace("@", "", 1) for line in lines), *after]
        return (end.join(whole) + end).encode(name)
    pieces = [line.encode(name) for line in before]
    for number, line in enumerate(lines):
        instead = {CUT: b"\xec\x98", BYTES: b"\x92s", None: b""}[bad.get(number)]
        pieces.append(line.encode(name).replace(b"@", instead, 1))
    return (end.encode().join([*pieces, *(line.encode(name) for line in after)])) + end.encode()


def _predict(materials: Materials, written: Written) -> list[str]:
    told = ["--encoding", written.told] if written.told else []
    share = ["--most-bad-rows", str(written.most_bad)]
    model = ["--model", str(materials.finetuned)]
    return ["predict.py", *model, "--input", str(written.path), *told, *share]


def _finetune(folder: Path, materials: Materials, written: Written) -> list[str]:
    task = {
        "folder": folder,
        "train": written.path.name,
        "encoding": written.told or "null",
        "most_bad_rows": written.most_bad,
    }
    overrides = [f"task.{name}={value}" for name, value in task.items()]
    run = [f"run_dir={folder / 'run'}"]
    kind = "task.kind=tagging" if written.path.suffix == f".{CONLL}" else "model=naive-bayes"
    return ["finetune.py", "--config", str(materials.task), *overrides, *run, kind]


def _shown(outcome: Outcome, written: Written) -> str | None:
    """What is wrong with predictions: ids, texts and notes are those of the file."""
    rows = list(csv.DictReader(io.StringIO(outcome.printed, newline="")))
    has_ids = not written.path.name.startswith("a.txt")
    ids = [f"t{n}" if has_ids else str(n + 1) for n in range(len(written.texts))]
    if [row["id"] for row in rows] != ids:
        return f"ids {[row['id'] for row in rows][:3]}"
    for number, (row, expected) in enumerate(zip(rows, _expected(written))):
        if row["text"] != expected:
            return f"row {number + 1}: {row['text']!r} instead of {expected!r}"
    return _told(outcome.errors, written)


def _expected(written: Written) -> list[str]:
    ends = {CUT: "\ufffd", BYTES: "\ufffds", None: ""}
    return [text + ends[written.bad.get(n)] for n, text in enumerate(written.texts)]


def _taught(outcome: Outcome, written: Written) -> str | None:
    """What is wrong with a run: all rows are learnt from or held out, and told of."""
    first = outcome.printed.split("\n", 1)[0].split()
    if int(first[0]) + int(first[3]) != len(written.texts):
        return f"of {len(written.texts)} rows: {' '.join(first)}"
    return _told(outcome.printed, written)


def _told(said: str, written: Written) -> str | None:
    for kind in (CUT, BYTES):
        count = list(written.bad.values()).count(kind)
        is_told = any(
            f"{count} of {len(written.texts)} " in x and kind in x for x in said.split("\n")
        )
        if is_told != bool(count):
            return f"{count} rows that {kind}, but it says: {said[-500:]}"
    return None
