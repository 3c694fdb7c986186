"""What is read from JSON is what stands there; everything else is named in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from configs.errors import InputError
from configs.system.files import find_file
from configs.system.json_files import DEEPEST, read_json

DAMAGED = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[1]",
    "null": b"null",
    "not UTF-8": b'{"a": "\xff"}',
    "a name twice": b'{"a": 1, "b": {"c": 1, "c": 1}}',
    "NaN": b'{"a": NaN}',
    "-Infinity": b'{"a": -Infinity}',
    "beyond floats": b'{"a": 1e999}',
    "endless digits": b'{"a": ' + b"9" * 5000 + b"}",
    "a lone surrogate": b'{"a": "\\ud83d"}',
    "half a pair in capitals": b'{"a\\uDE00": 1}',
    "too deep": b'{"a": ' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1),
    "deep lists": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_is_one_line(tmp_path, what):
    path = tmp_path / "x.json"
    path.write_bytes(DAMAGED[what])
    with pytest.raises(InputError, match=r"fetch it anew$") as error:
        read_json(path, "fetch it anew")
    assert str(error.value).startswith(f"{path}: damaged (") and len(str(error.value)) < 400


def test_sound_content_is_read_as_it_is(tmp_path):
    path = tmp_path / "x.json"
    deep = '{"a": ' * DEEPEST + "1" + "}" * DEEPEST
    path.write_bytes(b"\xef\xbb\xbf" + deep.encode())
    assert str(read_json(path)).count("{") == DEEPEST
    path.write_text('{"a": "\\ud83d\\ude00", "b": 1e-5, "c": [1, 2.5, true, null]}')
    assert read_json(path) == {"a": "\U0001f600", "b": 1e-5, "c": [1, 2.5, True, None]}
    path.write_text('{"a": NaN}')
    assert str(read_json(path, infinite=True)["a"]) == "nan"


def test_special_files_are_refused_and_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for name in ("pipe", "folder", "gone"):
        with pytest.raises(InputError, match=name):
            read_json(tmp_path / name)
        with pytest.raises(InputError, match=name):
            find_file(tmp_path, name)
    with pytest.raises(InputError, match="null"):
        read_json(Path("/dev/null"))


def test_links_stay_in_the_folder_or_the_hubs_cache(tmp_path):
    home = tmp_path / "models--a--b" / "snapshots" / "0123"
    blobs = tmp_path / "models--a--b" / "blobs"
    for folder in (home, blobs):
        folder.mkdir(parents=True)
    (blobs / "abc").write_text("{}")
    (home / "config.json").symlink_to("../../blobs/abc")
    (tmp_path / "secret").write_text("{}")
    (home / "x.json").symlink_to("../../../secret")
    (home / "y.json").symlink_to("config.json")
    assert find_file(home, "config.json") and find_file(home, "y.json")
    assert find_file(home, "nothing.json") is None
    with pytest.raises(InputError, match="link out of its folder"):
        find_file(home, "x.json")
