"""launch/predict.py from every kind of input: files, tables and standard input."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from configs.errors import InputError
from launch import predict
from tests.conftest import ROOT, Command
from tests.finetuning import TOPICS, topic_rows, write_csv

LABELS = sorted(TOPICS)
SHARES = [f"p({label})" for label in LABELS]


def parse(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def shares(rows: list[dict[str, str]]) -> list[float]:
    return [float(row[name]) for row in rows for name in SHARES]


@pytest.fixture
def run(tiny_finetuned, tmp_path, monkeypatch, console):
    """`run(path, ...)` is the command's main in this process; gives what it printed."""

    def call(path: Path, *more: str) -> str:
        words = ["--model", str(tiny_finetuned), "--input", str(path), *more]
        monkeypatch.setattr("sys.argv", ["predict.py", *words])
        monkeypatch.chdir(tmp_path)
        predict.main()
        return console.readouterr().out

    return call


def test_dev_texts_get_the_answers_of_the_run(run, tiny_task, tiny_finetuned):
    train = tiny_task.with_name("train.csv")
    kept = parse((tiny_finetuned / "predictions.csv").read_text())
    found = {row["id"]: row for row in parse(run(train))}
    assert len(found) == 150 and len(kept) == 30
    again = [found[row["id"]] for row in kept]
    assert [row["prediction"] for row in again] == [row["prediction"] for row in kept]
    assert shares(again) == pytest.approx(shares(kept), abs=3e-6)
    right = [row["prediction"] == row["label"] for row in kept]
    assert sum(right) > 24


def test_text_csv_and_jsonl_give_the_same(run, tmp_path):
    texts = [text for text, _ in topic_rows(seed=3, rows=9)]
    table = write_csv(tmp_path / "new.csv", [(text, "x") for text in texts], ("tweet", "other"))
    lines, objects = tmp_path / "new.txt", tmp_path / "new.jsonl"
    lines.write_text("".join(f"{text}\n" for text in texts))
    objects.write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
    first = run(lines)
    assert [row["text"] for row in parse(first)] == texts
    assert run(objects) == run(table, "--text-column", "tweet") == first
    assert sum(shares(parse(first)[:1])) == pytest.approx(1, abs=3e-6)


def test_an_output_file_holds_what_is_printed_otherwise(run, tmp_path):
    lines = tmp_path / "new.txt"
    lines.write_bytes("\ufeffopen the file\nadd 1 \xff\n".encode() + b"bad \xff\n")
    pass_all = ("--most-bad-rows", "1")
    printed = run(lines, *pass_all)
    assert run(lines, *pass_all, "--output", "deep/out.csv") == ""
    with (tmp_path / "deep" / "out.csv").open(encoding="utf-8", newline="") as file:
        assert parse(file.read()) == parse(printed)
    assert [row["text"] for row in parse(printed)] == ["open the file", "add 1 ÿ", "bad \ufffd"]


@pytest.mark.parametrize("before", [None, "kept"])
@pytest.mark.parametrize("name", ["new.csv", "new.txt"])
def test_bad_bytes_leave_no_output(launch, tiny_finetuned, tmp_path, before, name):
    table = tmp_path / name
    table.write_bytes("text\nopen\nnaïve\n".encode("cp1252"))
    output = tmp_path / "out.csv"
    if before:
        output.write_text(before)
    words = ("--model", tiny_finetuned, "--input", table, "--output", output, "--block", "1")
    done = launch("predict.py", *words)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {table}: 1 of ") and "--encoding cp1252" in line
    assert (output.read_text() if output.exists() else None) == before
    assert {path.name for path in tmp_path.iterdir()} <= {name, "out.csv"}


def test_every_row_has_a_line_and_notes_go_to_standard_error(
    tiny_finetuned, tmp_path, monkeypatch, console
):
    table = write_csv(tmp_path / "new.csv", [("x1", "open"), ("x2", "")], ("id", "text"))
    words = ["--model", str(tiny_finetuned), "--input", str(table)]
    monkeypatch.setattr("sys.argv", ["predict.py", *words])
    predict.main()
    out, errors = console.readouterr()
    first, second = parse(out)
    assert (first["id"], first["text"]) == ("x1", "open") and first["prediction"] in LABELS
    assert second == dict.fromkeys(first, "") | {"id": "x2"}
    assert errors == "note: 1 of 2 rows hold no text: their predictions are empty\n"


def test_the_model_goes_to_the_device(run, tmp_path, monkeypatch):
    moved = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.nn.Module.to", lambda self, device: moved.append(device) or self)
    lines = tmp_path / "new.txt"
    lines.write_text("open\n")
    for device in ("auto", "cuda", "cpu"):
        run(lines, "--device", device)
    assert [device.type for device in moved] == ["cuda", "cuda", "cpu"]


def test_a_pipe_gets_utf8_whatever_the_locale(tiny_finetuned, tmp_path):
    table = write_csv(tmp_path / "new.csv", [("open the déjà 한국어 😀",)], ("text",))
    words = ["--model", str(tiny_finetuned), "--input", str(table)]
    command = Command("predict.py", *words, cwd=tmp_path, environment={"PYTHONIOENCODING": "ascii"})
    command.process.stdout.reconfigure(encoding="utf-8")
    done = command.finish()
    assert done.returncode == 0, done.stderr
    assert parse(done.stdout)[0]["text"] == "open the déjà 한국어 😀"


def test_standard_input_is_answered_line_by_line(tiny_finetuned, tmp_path):
    """The second line is sent only when the answer to the first has been read."""
    words = [str(ROOT / "launch" / "predict.py"), "--model", str(tiny_finetuned), "--input", "-"]
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=tmp_path,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    limit = threading.Timer(120, process.kill)
    limit.start()
    try:
        answers = []
        for number, text in enumerate(["open path bytes; read", "add zero of sum"], start=1):
            process.stdin.write(f"{text}\n")
            process.stdin.flush()
            if number == 1:
                names = process.stdout.readline().strip().split(",")
            answers.append(dict(zip(names, process.stdout.readline().strip().split(","))))
            assert (answers[-1]["id"], answers[-1]["text"]) == (str(number), text)
        rest, errors = process.communicate("\nread the path\n", timeout=60)
    finally:
        limit.cancel()
        process.kill()
    assert [answer["prediction"] for answer in answers] == ["file", "number"]
    blank, last = [*csv.reader(rest.splitlines())]
    assert blank == ["3", *[""] * (len(names) - 1)]
    assert (last[0], last[-1]) == ("4", "read the path") and last[1] in LABELS
    assert process.returncode == 0
    assert errors == "note: 1 of 4 rows hold no text: their predictions are empty\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--input", "nowhere.csv"), "--input nowhere.csv: no such file"),
        (("--input", "new.pdf"), "new.pdf: unknown kind of table"),
        (("--input", "empty.txt"), "--input holds no text"),
        (("--input", "empty.txt", "--text-column", "a"), "--text-column is for tables"),
        (("--input", "-", "--encoding", "utf-9"), "--encoding=utf-9 is no encoding of text"),
        (("--input", "-", "--encoding", "base64"), "--encoding=base64 is no encoding of text"),
        (("--input", "-", "--most-bad-rows", "2"), "--most-bad-rows=2.0 is no fraction"),
        (("--model", "new.pdf", "--input", "-"), "--model new.pdf: no fine-tuned model"),
    ],
)
def test_what_cannot_be_read_is_named(tiny_finetuned, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    for name in ("new.pdf", "empty.txt"):
        Path(name).touch()
    model = ("--model", str(tiny_finetuned))
    monkeypatch.setattr("sys.argv", ["predict.py", *model, *words])
    with pytest.raises(InputError) as error:
        predict.main()
    assert message in str(error.value)


def test_a_damaged_model_is_named(tiny_finetuned, tmp_path, monkeypatch):
    folder = shutil.copytree(tiny_finetuned / "checkpoints" / "best", tmp_path / "best")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    monkeypatch.setattr("sys.argv", ["predict.py", "--model", str(folder), "--input", "-"])
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]  # still a file of tensors
    damages = [(weights.name, whole[:-9]), (weights.name, flipped), ("finetuned.json", b"{")]
    for name, content in damages:
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{folder}.* damaged"):
            predict.main()
        (folder / name).write_bytes(before)
