"""The curves of a run as a picture."""

from __future__ import annotations

import warnings
from pathlib import Path

BLUE, ORANGE, GREY = "#2563eb", "#ea580c", "#6b7280"
FURTHER_FONTS = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "AppleGothic")
"""used, where they are installed, for characters that matplotlib's own font lacks"""


def plot_curves(records: list[dict], path: Path, title: str) -> None:
    """Loss (training, held-out, unigram yardstick), masked accuracy and learning rate by step."""
    figure = new_figure(11, 4.2)
    loss, accuracy = figure.subplots(1, 2, width_ratios=[3, 2])
    train, heldout = _series(records, "train"), _series(records, "heldout")
    _draw_loss(loss, train, heldout, _series(records, "baseline"))
    _draw_accuracy(accuracy, train, heldout)
    for axes in (loss, accuracy):
        axes.set_xlabel("step")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    save(figure, path)


def new_figure(width: float, height: float):
    """An empty matplotlib figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure, path: Path, dpi: int = 150) -> bool:
    """Write a PNG; its folder is made.

    Returns:
        Whether the installed fonts have every character; the others are drawn as boxes.
    """
    from matplotlib.font_manager import fontManager
    from matplotlib.text import Text

    installed = set(fontManager.get_font_names())
    families = ["DejaVu Sans", *(font for font in FURTHER_FONTS if font in installed)]
    for text in figure.findobj(Text):
        text.set_fontfamily(families)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "Glyph .* missing")
        figure.savefig(path, dpi=dpi)
    return not any("Glyph" in str(warning.message) for warning in caught)


def date_axis(axis) -> None:
    """Few, short labels on an axis of dates."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=7)
    ticks = ["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%S"]
    zeros = ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]
    axis.set_major_locator(locator)
    axis.set_major_formatter(
        ConciseDateFormatter(locator, formats=ticks, zero_formats=zeros, show_offset=False)
    )


def _draw_loss(axes, train: dict, heldout: dict, baseline: dict) -> None:
    axes.plot(
        train.get("step", []),
        train.get("mlm_loss", []),
        color=BLUE,
        alpha=0.5,
        lw=1,
        label="training",
    )
    axes.plot(
        heldout.get("step", []),
        heldout.get("mlm_loss", []),
        "o-",
        color=ORANGE,
        ms=4,
        label="held-out",
    )
    if baseline:
        value = baseline["unigram_loss"][0]
        axes.axhline(value, color=GREY, ls="--", lw=1, label=f"unigram distribution ({value:.2f})")
    axes.set_ylabel("MLM loss (nats per predicted token)")
    axes.legend(frameon=False)


def _draw_accuracy(axes, train: dict, heldout: dict) -> None:
    for series, color, style in ((train, BLUE, "-"), (heldout, ORANGE, "o-")):
        values = [100 * v for v in series.get("mlm_accuracy", [])]
        axes.plot(series.get("step", []), values, style, color=color, ms=4, lw=1)
        if "nsp_accuracy" in series:
            nsp = [100 * v for v in series["nsp_accuracy"]]
            axes.plot(series["step"], nsp, ":", color=color, label="NSP")
            axes.legend(frameon=False)
    axes.set_ylabel("accuracy (%)")


def _series(records: list[dict], kind: str) -> dict[str, list[float]]:
    """The records of a kind as columns."""
    chosen = [record for record in records if record["kind"] == kind]
    return {key: [record[key] for record in chosen] for key in chosen[0]} if chosen else {}
