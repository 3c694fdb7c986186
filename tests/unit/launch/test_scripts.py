"""Scripts parse and call: no package knows one of them."""

from __future__ import annotations

import ast
import re

from launch.console import PACKAGES
from tests.conftest import ROOT

SCRIPTS = [
    path for path in sorted((ROOT / "launch").glob("*.py")) if "def main(" in path.read_text()
]
HEAD = re.compile(
    r'if __name__ == "__main__" and not __package__:\n    import as_script\n\n'
    r"    as_script\.begin\((notices=True|hurries=False)?\)\n"
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


def test_no_package_imports_a_script():
    names = {path.stem for path in SCRIPTS}
    for path in (path for name in PACKAGES for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                package, *rest = node.module.split(".")
                asked = rest[:1] or [alias.name for alias in node.names]
                assert package != "launch" or names.isdisjoint(asked), path
