"""Pictures of whatever text comes their way."""

from __future__ import annotations

import math

import numpy as np
import pytest

from finetune.report.markdown_tables import Gallery
from finetune.report.result_plots import plot_calibration, plot_confusion, plot_trials
from finetune.scoring.metrics import Bin
from pretrain.run.figures import drawable, new_figure, plot_curves, save

NAMES = (
    *("$", "$$", "a$b$", "$_$", r"$\frac{1}{$", "_", "__x", "%", "&", "#", "~^{}", "\\"),
    *("", " ", "\n", "\0", "\x1b[31m", "\udcff", "\u202e", "x" * 10_000, "긍정", "🤷🏽", "ㅋ"),
)


def picture(path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_any_name_can_be_drawn(tmp_path, name, capfd):
    figure = new_figure(2, 2)
    axes = figure.subplots()
    axes.plot([0, 1], label=drawable(name))
    axes.set_title(name)
    axes.set_xticks([0, 1], [name, name])
    axes.text(0, 0, name)
    shown = [text.get_text() for text in axes.legend().get_texts()] if name else []
    assert shown == [drawable(name)][: len(name)]
    save(figure, tmp_path / "it.png", dpi=40)
    assert picture(tmp_path / "it.png")
    assert capfd.readouterr().err == ""


def test_a_dollar_is_drawn_as_a_dollar(tmp_path):
    figure = new_figure(2, 2)
    text = figure.text(0, 0, "$x$")
    save(figure, tmp_path / "it.png", dpi=40)
    assert not text.get_parse_math() and text.get_text() == "$x$"


def test_the_plots_of_a_run_take_any_label(tmp_path, console):
    gallery, labels = Gallery(tmp_path), list(NAMES)
    matrix = np.eye(len(labels), dtype=int)
    bins = [Bin(0.5, 0.25, 3)]
    curves = {name: [(1, 0.5), (2, 0.75)] for name in labels}
    for name, draw, *content in (
        ("confusion", plot_confusion, matrix, labels, "$$"),
        ("calibration", plot_calibration, bins, 0.25, "$_"),
        ("trials", plot_trials, curves, "f1 ($)"),
    ):
        assert f"plots/{name}.png" in gallery.add(name, name, draw, *content)
        assert picture(tmp_path / "plots" / f"{name}.png")
    records = [{"kind": "train", "step": 1, "mlm_loss": 2.0}, {"kind": "heldout", "step": 1}]
    plot_curves(records, tmp_path / "curves.png", "a_$b_$")
    assert picture(tmp_path / "curves.png")
    assert console.readouterr().err == ""


def test_thousands_of_classes_make_a_picture_of_an_ordinary_size(tmp_path):
    labels = [f"class {number}" for number in range(2000)]
    plot_confusion(np.eye(2000, dtype=int), labels, "dev", tmp_path / "it.png")
    assert (tmp_path / "it.png").stat().st_size < 2_000_000


def test_a_picture_that_cannot_be_drawn_is_said_and_no_old_one_shown(tmp_path, console):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "it.png").write_bytes(b"of an earlier report")

    def draw(_path) -> bool:
        raise ValueError("no")

    assert "could not be drawn" in Gallery(tmp_path).add("it", "curves", draw)
    assert not (tmp_path / "plots" / "it.png").exists()
    assert "it.png could not be made (no)" in console.readouterr().err


def test_figures_that_are_no_numbers(tmp_path):
    records = [
        {"kind": "train", "step": step, "mlm_loss": math.nan, "mlm_accuracy": math.inf}
        for step in (1, 2)
    ]
    plot_curves(records, tmp_path / "curves.png", "nan")
    assert picture(tmp_path / "curves.png")
