"""Which code made a run."""

from __future__ import annotations

from configs.system import version
from configs.system.run_folder import RunFolder
from configs.system.version import FINETUNING, source_fingerprint


def write(root, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def test_the_fingerprint_changes_with_the_code_that_counts_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(version, "ROOT", tmp_path)
    for package in FINETUNING:
        write(tmp_path, f"{package}/a.py", "1")
    before, both = source_fingerprint(), source_fingerprint(FINETUNING)
    write(tmp_path, "README.md", "words")
    write(tmp_path, "configs/new.yaml", "seed: 1")
    write(tmp_path, "finetune/a.py", "2")
    assert source_fingerprint() == before and source_fingerprint(FINETUNING) != both
    write(tmp_path, "pretrain/deep/b.py", "1")
    after = source_fingerprint()
    assert after != before
    (tmp_path / "pretrain/deep/b.py").rename(tmp_path / "pretrain/deep/c.py")
    assert source_fingerprint() != after


def test_an_environment_that_is_not_there_or_damaged_is_empty(tmp_path):
    assert RunFolder(tmp_path).read_environment() == {}
    for text in ("{", "[]", ""):
        (tmp_path / "environment.json").write_text(text)
        assert RunFolder(tmp_path).read_environment() == {}
    (tmp_path / "environment.json").write_text('{"source": "a"}')
    assert RunFolder(tmp_path).read_environment() == {"source": "a"}


def test_another_repository_in_the_environment_is_not_ours(tmp_path, monkeypatch):
    own = version.code_version()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere.git"))
    assert version.code_version() == own
