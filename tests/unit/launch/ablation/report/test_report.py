"""All outputs at once: the folder, the page, TensorBoard."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from launch.ablation.report import templates
from launch.ablation.report.result_table import build
from launch.ablation.report.writer import write_report

FILES = {
    *("table.md", "table.tex", "table_page.tex", "table.csv", "table.json", "report.html"),
    *("plots", "tensorboard"),
}


@pytest.fixture(scope="module")
def written(results):
    """What `write` says, and the folder."""
    return write_report(results), results.folder


def test_write_leaves_every_output_and_says_where(written):
    text, folder = written
    assert {path.name for path in folder.iterdir()} == FILES
    sizes = {path.name: path.stat().st_size for path in (folder / "plots").iterdir()}
    assert set(sizes) == {"curves.png", "curves_time.png", "curves_flops.png", "differences.png"}
    assert min(sizes.values()) > 10_000
    assert text.startswith("Static against dynamic masking")
    assert "Perplexity (lower is better): dynamic is better" in text
    assert f"{folder}/report.html" in text.splitlines()


def test_writing_again_changes_nothing(written, results):
    text, folder = written
    before = {name: (folder / name).read_bytes() for name in FILES if "." in name}
    assert write_report(results) == text
    assert before == {name: (folder / name).read_bytes() for name in before}
    assert len(list((folder / "tensorboard").iterdir())) == 12


def test_the_page_needs_nothing_else(written):
    text = (written[1] / "report.html").read_text()
    assert not re.search(r"""(src|href)=["'](https?:)?//|@import|url\(""", text)
    assert text.count("data:image/png;base64,") == 4


def test_the_page_links_every_run(written, results):
    text = (written[1] / "report.html").read_text()
    links = set(re.findall(r'href="([^"]+)"', text))
    assert {f"../../runs/row{row}/seed{seed}" for row in range(4) for seed in range(3)} <= links
    assert "../../runs/row0/seed0/tweets/trials/seed4" in links


def test_the_page_escapes_what_people_wrote(results):
    told = replace(results, title="<script>alert(1)</script> & 한국어")
    text = templates.to_page(told, build(told), {})
    assert "<h1>&lt;script&gt;alert(1)&lt;/script&gt; &amp; 한국어</h1>" in text
    assert "<h2>Plots</h2>" not in text


def test_tensorboard_has_an_entry_for_each_run(written):
    folder = written[1] / "tensorboard"
    events = EventAccumulator(str(folder / "02-seed1")).Reload()
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    start = HParamsPluginData.FromString(content).session_start_info
    assert start.hparams["row"].string_value == "static (1 mask)"
    assert start.hparams["seed"].number_value == 1
    assert start.hparams["optimizer.learning_rate"].number_value == 0.004
    assert {"perplexity", "tweets_macro_f1"} <= set(events.Tags()["scalars"])
