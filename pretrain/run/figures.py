"""The curves of a run as a picture."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.system.files import make_folder, written_file
from configs.system.safe_text import visible

if TYPE_CHECKING:  # matplotlib is imported by whoever draws
    from matplotlib.axes import Axes as Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Figure

Records = list[dict[str, Any]]
"""of metrics.jsonl"""
Series = dict[str, list[float]]
"""columns of records"""
BLUE, ORANGE, GREY = "#2563eb", "#ea580c", "#6b7280"
FURTHER_FONTS = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "AppleGothic")
"""used, where they are installed, for characters that matplotlib's own font lacks"""
MOST_PIXELS = 12_000
"""of a side: a picture of thousands of rows gets coarser, not larger"""
LONGEST = 60
"""characters of a text in a picture, whoever wrote it"""


def plot_curves(records: Records, path: Path, title: str) -> None:
    """Loss (training, held-out, unigram yardstick), masked accuracy and learning rate by step."""
    figure = new_figure(11, 4.2)
    loss, accuracy = figure.subplots(1, 2, width_ratios=[3, 2])
    train, heldout = _series(records, "train"), _series(records, "heldout")
    _draw_loss(loss, train, heldout, _series(records, "baseline"))
    _draw_accuracy(accuracy, train, heldout)
    for axes in (loss, accuracy):
        axes.set_xlabel("step")
        plain_frame(axes)
    figure.suptitle(title)
    save(figure, path)


def new_figure(width: float, height: float) -> Figure:
    """An empty matplotlib figure of so many inches, in which a dollar is a dollar."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams.update({"text.parse_math": False, "text.usetex": False})
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: Path, dpi: int = 150) -> bool:
    """Write a PNG, whole or not at all; its folder is made. Returns whether the installed fonts
    have every character; the others are drawn as boxes."""
    from matplotlib.font_manager import fontManager
    from matplotlib.text import Text

    _show_as_it_is(figure)

    installed = set(fontManager.get_font_names())
    families = ["DejaVu Sans", *(font for font in FURTHER_FONTS if font in installed)]
    for text in figure.findobj(Text):
        text.set_fontfamily(families)
    make_folder(path.parent)
    finest = MOST_PIXELS / max(figure.get_size_inches())
    with written_file(path) as aside, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(aside, dpi=min(dpi, finest), format="png")
    return not any("Glyph" in str(warning.message) for warning in caught)


def drawable(text: str) -> str:
    """Text of whatever origin as a font can draw it: nothing invisible, not endless, and not
    beginning with the underscore by which matplotlib hides a name from a legend."""
    shown = visible(text, lines=True).replace("\t", " ")
    if len(shown) > LONGEST + 20:
        shown = f"{shown[:LONGEST]}…"
    return f" {shown}" if shown.startswith("_") else shown


def _show_as_it_is(figure: Figure) -> None:
    """Make every text of a figure drawable, those of its axes' ticks too."""
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter

    for text in figure.findobj(Text):
        text.set_text(drawable(text.get_text()))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if isinstance(formatter, FuncFormatter):
                formatter.func = _drawing(formatter.func)


def _drawing(name_of: Callable[..., str]) -> Callable[..., str]:
    def draw(*place: object) -> str:
        return drawable(name_of(*place))

    return draw


def plain_frame(axes: Axes, grid: bool = True) -> None:
    """The style of all pictures: a frame on two sides only, and a pale grid."""
    if grid:
        axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def date_axis(axis: Axis) -> None:
    """Few, short labels on an axis of dates."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    # matplotlib declares no types for these two.
    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    ticks = ["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%S"]
    zeros = ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]
    axis.set_major_locator(locator)
    formatter = ConciseDateFormatter(  # type: ignore[no-untyped-call]
        locator, formats=ticks, zero_formats=zeros, show_offset=False
    )
    axis.set_major_formatter(formatter)


def _draw_loss(axes: Axes, train: Series, heldout: Series, baseline: Series) -> None:
    training, held_out = (
        (series.get("step", []), series.get("mlm_loss", [])) for series in (train, heldout)
    )
    axes.plot(*training, color=BLUE, alpha=0.5, lw=1, label="training")
    axes.plot(*held_out, "o-", color=ORANGE, ms=4, label="held-out")
    if baseline:
        value = baseline["unigram_loss"][0]
        axes.axhline(value, color=GREY, ls="--", lw=1, label=f"unigram distribution ({value:.2f})")
    axes.set_ylabel("MLM loss (nats per predicted token)")
    axes.legend(frameon=False)


def _draw_accuracy(axes: Axes, train: Series, heldout: Series) -> None:
    for series, color, style in ((train, BLUE, "-"), (heldout, ORANGE, "o-")):
        values = [100 * v for v in series.get("mlm_accuracy", [])]
        axes.plot(series.get("step", []), values, style, color=color, ms=4, lw=1)
        if "nsp_accuracy" in series:
            nsp = [100 * v for v in series["nsp_accuracy"]]
            axes.plot(series["step"], nsp, ":", color=color, label="NSP")
            axes.legend(frameon=False)
    axes.set_ylabel("accuracy (%)")


def _series(records: Records, kind: str) -> Series:
    """The records of a kind as columns; one that a record lacks has a gap there."""
    chosen = [record for record in records if record["kind"] == kind]
    names = {"mlm_loss", "mlm_accuracy"}.union(*chosen) if chosen else ()
    return {name: [record.get(name, math.nan) for record in chosen] for name in names}
