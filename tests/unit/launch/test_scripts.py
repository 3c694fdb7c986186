"""Scripts parse and call: no package knows one of them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys

import pytest

from configs.system.version import PACKAGES
from tests.conftest import ROOT

SCRIPTS = [
    path for path in sorted((ROOT / "launch").glob("*.py")) if "def main(" in path.read_text()
]
NEEDS_P = pytest.mark.skipif(sys.version_info < (3, 11), reason="-P is of Python 3.11")
HEAD = re.compile(
    r'if __name__ == "__main__" and not __package__:\n'
    r"    sys\.path\.insert\(0, str\(Path\(__file__\)\.resolve\(\)\.parents\[1\]\)\)\n"
    r"    from launch\.as_script import begin\n\n    begin\((notices=True|hurries=False)?\)\n"
)


def test_every_script_has_the_same_head_before_the_projects_modules():
    for path in SCRIPTS:
        if path.name == "torch_index.py":  # runs where nothing is installed yet
            continue
        text = path.read_text(encoding="utf-8")
        head = HEAD.search(text)
        assert head, path
        before = text[: head.start()]
        assert not re.search(rf"^(from|import) ({'|'.join(PACKAGES)})", before, re.MULTILINE), path


@pytest.mark.parametrize("options", [(), pytest.param(("-P",), marks=NEEDS_P)])
def test_a_script_finds_the_packages_from_any_folder(options, tmp_path):
    """Beside packages of the same names in the current folder, and with python -P."""
    (tmp_path / "pretrain.py").write_text("raise AssertionError", encoding="utf-8")
    words = [sys.executable, *options, str(ROOT / "launch" / "table.py"), "--help"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: table.py")


def test_no_package_imports_a_script():
    names = {path.stem for path in SCRIPTS}
    for path in (path for name in PACKAGES for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                package, *rest = node.module.split(".")
                asked = rest[:1] or [alias.name for alias in node.names]
                assert package != "launch" or names.isdisjoint(asked), path
