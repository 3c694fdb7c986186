"""Damage to a model's folder is noticed by whoever loads it; folders without hashes still load."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from configs.errors import InputError
from configs.system.folder_hashes import check_hashes, write_hashes
from configs.system.run_names import HASHES


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "model"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(1000))
    (folder / "tokenizer" / "vocab.txt").write_text("the\ncat\n")
    write_hashes(folder)
    return folder


def test_a_whole_folder_and_one_without_hashes_pass(folder):
    check_hashes(folder)
    (folder / "README.md").write_text("whatever lies beside is free")
    check_hashes(folder)
    (folder / HASHES).unlink()
    (folder / "model.safetensors").write_bytes(b"older folders have none")
    check_hashes(folder)


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs the program sha256sum")
def test_the_program_of_that_name_agrees(folder):
    command = ["sha256sum", "--check", "--strict", HASHES]
    assert subprocess.run(command, cwd=folder, capture_output=True).returncode == 0
    (folder / "tokenizer" / "vocab.txt").write_text("the\nCat\n")
    assert subprocess.run(command, cwd=folder, capture_output=True).returncode == 1


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer/vocab.txt"])
def test_one_flipped_bit_is_named(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        check_hashes(folder)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{folder / name}: damaged") and f"remove {HASHES}" in line


def test_a_missing_file_is_named(folder):
    (folder / "tokenizer" / "vocab.txt").unlink()
    with pytest.raises(InputError, match=r"vocab\.txt: missing"):
        check_hashes(folder)


@pytest.mark.parametrize(
    "line",
    [
        "no hash at all",
        f"{'0' * 64}",
        f"{'0' * 64}  ../outside",
        f"{'0' * 64}  /etc/hostname",
        f"{'0' * 64}  a\0b",
        f"{'0' * 63}  model.safetensors",
        "\ufffd" * 64 + "  model.safetensors",
    ],
)
def test_a_damaged_list_is_named_and_leads_nowhere_else(folder, line):
    with (folder / HASHES).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    with pytest.raises(InputError, match=rf"{HASHES}: damaged \(line 3 "):
        check_hashes(folder)


def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path):
    (tmp_path / "secret").write_text("x")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="link out of its folder"):
        check_hashes(folder)
