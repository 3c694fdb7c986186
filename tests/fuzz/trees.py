"""Trees of files as they lie on discs: links and loops of links, hidden files, what editors
leave, compressed files, cells that look like numbers; and, in half of them, one file that nobody
could read. The right value is what was written into the files that a walk without links finds.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from tests.fuzz.case import Case, Outcome
from tests.fuzz.materials import Materials

PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": lambda content: zstandard.ZstdCompressor().compress(content),
}
CELLS = (
    "007",
    "1e5",
    "1.50",
    "NA",
    "null",
    "nan",
    "True",
    "2020-01-02",
    "2020-01-02 03:04:05",
    "-0",
)
HIDDEN = (".git", ".ipynb_checkpoints", "__MACOSX", "__pycache__", ".cache")
LEFTOVER = (".{}", "{}~", "#{}#", ".{}.swp", "{}.part", "._{}", "~${}", "{}.tmp")
KINDS = ("text", "jsonl", "csv", "parquet")


def table_bytes(texts: list, names: tuple[str, ...] = ("text",)) -> bytes:
    """A Parquet file whose columns all hold `texts`."""
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array(texts)] * len(names), names=list(names)), stream)
    return stream.getvalue()


@dataclass
class Tree:
    """A tree that grows at random, and what it says."""

    rng: random.Random
    root: Path
    kind: str
    texts: dict[Path, list[str]] = field(default_factory=dict)
    """of each real file that is to be read"""

    def __post_init__(self) -> None:
        self.folders = [self.root]
        self.ending = {"text": ".txt"}.get(self.kind, f".{self.kind}")
        self.root.mkdir()
        for number in range(self.rng.randint(1, 6)):
            self.folders.append(self.rng.choice(self.folders) / f"f{number}")
            self.folders[-1].mkdir()

    def name(self, packing: str = "") -> str:
        """A name that none of the tree's files has."""
        return f"n{self.rng.getrandbits(40):010x}{self.ending}{packing}"

    def grow(self) -> None:
        """Files to be read, then what lies between them."""
        for _ in range(self.rng.randint(3, 7)):
            self.write(self.rng.choice(self.folders))
        for _ in range(self.rng.randint(2, 10)):
            self.rng.choice([self.link_file, self.link_folder, self.leave, self.hide, self.other])()

    def write(self, folder: Path) -> None:
        """A file of documents, packed or not, in one stream or two."""
        texts = [self.text(number) for number in range(self.rng.randint(20, 40))]
        packing = self.rng.choice(["", "", *PACK])
        path = folder / self.name(packing)
        cut = self.rng.randint(1, 19) if packing and self.kind in ("text", "jsonl") else 0
        parts = [texts[:cut], texts[cut:]] if cut else [texts]
        path.write_bytes(b"".join(PACK[packing](self.content(part)) for part in parts))
        self.texts[path] = texts

    def text(self, number: int) -> str:
        odd = self.kind != "text" and self.rng.random() < 0.3
        words = f'Document {self.rng.getrandbits(30)} of this file. It says, "{number} words".'
        return self.rng.choice(CELLS) if odd else words

    def content(self, texts: list[str]) -> bytes:
        """A file of the kind that says `texts`."""
        end = self.rng.choice(["\n", "\r\n"])
        rows = list(enumerate(texts))
        if self.kind == "parquet":
            return table_bytes(texts)
        if self.kind == "text":
            return "".join(f"{text}{end}{end}" for text in texts).encode()
        if self.kind == "jsonl":
            lines = (json.dumps({"id": n, "text": text}) + end for n, text in rows)
            return "".join(lines).encode()
        cells = ('"' + text.replace('"', '""') + '"' if '"' in text else text for text in texts)
        mark = self.rng.choice(["", "\ufeff"])
        return (mark + f"id,text{end}" + "".join(f"7,{cell}{end}" for cell in cells)).encode()

    def link_file(self) -> None:
        """A second name of a file, by a link of either kind."""
        target, place = self.rng.choice(list(self.texts)), self.rng.choice(self.folders)
        link = place / self.name("".join(target.suffixes[1:]))
        os.link(target, link) if self.rng.random() < 0.3 else link.symlink_to(target)

    def link_folder(self) -> None:
        """A link to a folder: an upper one makes a loop."""
        target, place = self.rng.choice(self.folders), self.rng.choice(self.folders)
        relative = os.path.relpath(target, place) if self.rng.random() < 0.5 else target
        (place / f"l{self.rng.getrandbits(40):010x}").symlink_to(relative)

    def leave(self) -> None:
        """What an editor leaves."""
        name = self.rng.choice(LEFTOVER).format(self.name())
        (self.rng.choice(self.folders) / name).write_bytes(b"\xff half a file")

    def hide(self) -> None:
        """A hidden folder with a file of the kind."""
        folder = self.rng.choice(self.folders) / self.rng.choice(HIDDEN)
        folder.mkdir(exist_ok=True)
        (folder / self.name()).write_bytes(b"\xff not to be read")

    def other(self) -> None:
        """A file of another kind."""
        name = self.rng.choice(["README.md", "notes.docx", "a.tar.gz", "_SUCCESS", "x.py", "b.zip"])
        (self.rng.choice(self.folders) / name).write_bytes(b"\xff other")

    def expected(self) -> Counter[str]:
        """The documents of the files that a walk without links finds, each inode once."""
        found, seen = Counter(), set()
        for folder, _, files in os.walk(self.root):
            for path in (Path(folder, name) for name in files):
                inode = path.lstat().st_ino
                if path in self.texts and inode not in seen:
                    found.update(" ".join(text.split()) for text in self.texts[path])
                    seen.add(inode)
        return found


def tree(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """A tree of one kind of files, by its folder or a pattern, half of the time with a bad file."""
    grown = Tree(rng, folder / "tree", rng.choice(KINDS))
    grown.grow()
    pattern = rng.choice(["", f"**/*{grown.ending}*"])
    what, overrides, right = f"{grown.kind} {pattern}", [], None
    if rng.random() < 0.5:
        bad = rng.choice(sorted(fitting := {**BAD, **BAD_OF.get(grown.kind, {})}))
        overrides = fitting[bad](grown, rng.choice(grown.folders)) or []
        what = f"{what}: {bad}"
    else:
        right = _checker(grown)
    words = [
        f"data.sources.0={{kind: {grown.kind}, path: '{grown.root / pattern}'}}",
        f"tokenizer.path={materials.run / 'tokenizer'}",
        f"data.cache={folder / 'cache'}",
        "data.heldout_fraction=0.4",
        *overrides,
    ]
    return Case(what, ["prepare.py", "--config", str(materials.config), *words], right, False)


def _checker(grown: Tree) -> Callable[[Outcome], str | None]:
    def right(outcome: Outcome) -> str | None:
        store = next(line.split()[1] for line in outcome.printed.splitlines() if "store" in line)
        found, wanted = _documents(Path(store)), grown.expected()
        more, less = found - wanted, wanted - found
        if more or less:
            return f"{len(more)} documents more ({[*more][:2]}), {len(less)} less ({[*less][:2]})"
        return None

    return right


def _documents(store: Path) -> Counter[str]:
    """The documents of both splits, decoded."""
    from pretrain.data.store import SPLITS, TokenStore
    from tokenizer.load import load_tokenizer

    tokenizer, found = load_tokenizer(store / "tokenizer"), Counter()
    for split in SPLITS:
        opened = TokenStore.open(store, split)
        ends = opened.sentence_ends[opened.document_ends - 1]
        for start, end in zip([0, *ends[:-1]], ends):
            found[tokenizer.decode(opened.tokens(int(start), int(end)).tolist())] += 1
    return found


# -- What nobody could read ------------------------------------------------------------------------


def _put(content: bytes, packing: str = "", ending: str = "") -> Callable[[Tree, Path], None]:
    """Write a file of these bytes."""

    def put(grown: Tree, folder: Path) -> None:
        (folder / (grown.name(packing) + ending)).write_bytes(content)

    return put


def _named(packing: str, name: str) -> Callable[[Tree, Path], None]:
    """Write a good file, packed in one way and named in another."""

    def put(grown: Tree, folder: Path) -> None:
        (folder / grown.name(name)).write_bytes(PACK[packing](grown.content(["a text."] * 9)))

    return put


def _cut(grown: Tree, folder: Path) -> None:
    packing = grown.rng.choice([ending for ending in PACK if ending])
    content = PACK[packing](grown.content([grown.text(n) for n in range(200)]))
    (folder / grown.name(packing)).write_bytes(content[: -grown.rng.randint(1, len(content) // 2)])


def _long(grown: Tree, folder: Path) -> list[str]:
    (folder / grown.name()).write_bytes(grown.content(["word " * 5000]))
    return ["data.sources.0.longest_document_megabytes=0.01"]


BAD = {
    "a link to nothing": lambda grown, folder: (folder / grown.name()).symlink_to("gone"),
    "a link to itself": lambda grown, folder: (folder / (n := grown.name())).symlink_to(n),
    "a pipe": lambda grown, folder: os.mkfifo(folder / grown.name()),
    "a zip file": _put(b"PK\x03\x04 and more", ending=".zip"),
    "an lz4 file": _put(b"\x04\x22\x4d\x18 and more", ".lz4"),
    "gzip without its name": _named(".gz", ""),
    "bzip2 named gzip": _named(".bz2", ".gz"),
    "plain named zst": _named("", ".zst"),
    "packed twice": _put(gzip.compress(bz2.compress(b"text")), ".gz"),
    "cut off": _cut,
    "a document too long": _long,
}
BAD_OF = {
    "text": {
        "not UTF-8": _put("naïve\n".encode("cp1252")),
        "a NUL": _put(b"a\0b\n"),
        "UTF-16 without a mark": _put("a text\n".encode("utf-16-le")),
    },
    "jsonl": {
        "a number": _put(b'{"text": "a"}\n{"text": 7}\n'),
        "a truth value": _put(b'{"text": true}\n'),
        "two values of one name": _put(b'{"text": "a", "text": "b"}\n'),
        "the column missing": _put(b'{"body": "a"}\n' * 3),
        "broken": _put(b'{"text": "a"\n'),
    },
    "csv": {
        "two columns of one name": _put(b"text,text\na,b\n"),
        "a row too short": _put(b"id,text\n1,a\n2\n"),
        "a row too long": _put(b"id,text\n1,a\n2,b,c\n"),
        "a quote left open": _put(b'text\n"a\nb\n'),
        "the column missing": _put(b"id,body\n1,a\n"),
    },
    "parquet": {
        "numbers": _put(table_bytes([1, 2])),
        "lists": _put(table_bytes([["a"], ["b"]])),
        "bytes that are not UTF-8": _put(table_bytes([b"a", b"\xff\xfe"])),
        "two columns of one name": _put(table_bytes(["a"], ("text", "text"))),
        "the column missing": _put(table_bytes(["a"], ("body",))),
        "no Parquet": _put(b"text\na\n"),
    },
}
