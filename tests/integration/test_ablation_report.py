"""The page of an ablation in a real browser, without a window."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from launch.ablation.report.writer import write_report
from tests.unit.launch.ablation.report.example_results import EFFECTS, make_results

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
BROWSERS_OWN = "not an origin"

pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(BROWSERS)} here")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """report.html of results without a training."""
    results = make_results(tmp_path_factory.mktemp("ablation"))
    write_report(results)
    return results.folder / "report.html"


@pytest.fixture
def browse(page, tmp_path):
    """`browse("#fragment", "--option")` opens the page, or another, and returns what the browser
    prints."""

    def run(fragment: str, *options: str, path: Path = page) -> str:
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        command = [BROWSER, *QUIET, profile, *options, f"{path.as_uri()}{fragment}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def rows(document: str) -> list[str]:
    """Names of the rows of the results, from top to bottom."""
    results = document.split('id="results"')[1].split("</table>")[0]
    return re.findall(r'<th scope="row" data-value="([^"]+)"', results)


def test_the_table_sorts(browse):
    baseline, dynamic, one, forty = EFFECTS
    assert rows(browse("", "--dump-dom")) == [baseline, dynamic, one, forty]
    ascending = browse("#sort=1", "--dump-dom")
    assert rows(ascending) == [dynamic, baseline, forty, one]
    assert ascending.count('aria-sort="ascending"') == 1
    assert rows(browse("#sort=-1", "--dump-dom")) == [one, forty, baseline, dynamic]


def test_the_page_shows_and_asks_nothing_of_the_network(browse, tmp_path):
    log, picture = tmp_path / "network.json", tmp_path / "page.png"
    options = (f"--screenshot={picture}", "--window-size=1300,1800")
    browse("", f"--log-net-log={log}", *options)
    assert asked(log) == []
    assert colors(picture) > 200


def test_a_request_would_have_been_seen(browse, tmp_path):
    log, other = tmp_path / "network.json", tmp_path / "other.html"
    other.write_text('<img src="http://127.0.0.1:9/a.png">')
    browse("", f"--log-net-log={log}", "--dump-dom", path=other)
    assert asked(log) == ["http://127.0.0.1:9/a.png"]


def asked(log: Path) -> list[str]:
    """What the page wanted from the network; the browser's own requests have no origin."""
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    own = [event for event in events if event.get("initiator", BROWSERS_OWN) != BROWSERS_OWN]
    return [event["url"] for event in own if event["url"].startswith("http")]


def colors(picture: Path) -> int:
    """How many different ones a picture has."""
    from matplotlib.image import imread
    from numpy import unique

    return len(unique((imread(picture) * 255).astype("uint8").reshape(-1, 4)[::7], axis=0))
