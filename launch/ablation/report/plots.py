"""Curves with their spread over seeds, and differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.ablation_metrics import Metric
from configs.system.notes import optional
from configs.system.run_names import PLOTS
from finetune.report.markdown_tables import short
from launch.ablation.measurements import Results
from launch.ablation.report.curves import Band, Curve, band, curve_metric, law_of, read_curve
from launch.ablation.report.result_table import Table, TableRow, paired
from launch.ablation.report.verdicts import Difference
from pretrain.run.figures import drawable, new_figure, plain_frame, save

if TYPE_CHECKING:
    from pretrain.run.figures import Axes

BLACK, GREY = "#000000", "#8a8a8a"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d")
"""Okabe and Ito's, told apart by colour-blind eyes too; black is the baseline's"""
DASHES = ("-", "--", "-.", ":")
VERDICTS = {"better": "#0072b2", "worse": "#d55e00", "the same": "#009e73"}
LABELS = {
    "mlm_loss": "held-out MLM loss (nats per token)",
    "bits_per_byte": "held-out bits per byte",
    "tokens": "training tokens",
    "minutes": "minutes of training",
    "flops": "training FLOPs",
}
AXES = {
    "tokens": ("curves.png", "tokens"),
    "minutes": ("curves_time.png", "time"),
    "flops": ("curves_flops.png", "FLOPs"),
}
"""of curves: the file's name, and what the page calls it"""
LATE = 1 / 3
"""share of the shortest curve that the second panel shows"""
COLUMNS = 3
"""most panels of differences side by side"""


def write(results: Results, table: Table, folder: Path) -> dict[str, str]:
    """All plots there is something for and that can be drawn; their files' names by what they
    show."""
    metric = curve_metric(results)
    curves: dict[str, list[Curve]] = {}
    for (row, _), folder_of_run in results.pretraining_runs.items():
        if curve := read_curve(folder_of_run, metric):
            curves.setdefault(row, []).append(curve)
    made = {}
    for axis, (name, said) in AXES.items():
        known = curves if axis != "flops" else with_flops(curves)
        if known:
            with optional(f"{results.folder / PLOTS / name}"):
                plot_curves(known, table, metric, axis, folder / name)
                made[f"Held-out curves against {said}"] = name
    if panels(table):
        with optional(f"{results.folder / PLOTS}/differences.png"):
            plot_differences(table, folder / "differences.png")
            made["Paired differences"] = "differences.png"
    return made


def with_flops(curves: dict[str, list[Curve]]) -> dict[str, list[Curve]]:
    """Those of rows whose runs all tell their FLOPs."""
    return {row: own for row, own in curves.items() if all(curve.flops.any() for curve in own)}


def plot_curves(
    curves: dict[str, list[Curve]], table: Table, metric: str, axis: str, path: Path
) -> None:
    """Median over seeds as a line, all seeds within the band; the whole run, and its end."""
    bands = {name: band(own, axis) for name, own in curves.items()}
    figure = new_figure(10.5, 4)
    whole, late = figure.subplots(1, 2)
    for place, row in enumerate(row for row in table.rows if row.name in bands):
        for axes in (whole, late):
            draw_band(axes, bands[row.name], row.name, line_style(place, row.is_baseline))
    zoom(late, list(bands.values()))
    if axis == "flops":
        whole.set_xscale("log", subs=(2, 5))
        whole.xaxis.set_minor_formatter(thousands)
        draw_law(whole, curves.get(table.baseline.name, []))
    for axes, title in ((whole, "the whole run"), (late, "the last third")):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(LABELS[axis])
        axes.xaxis.set_major_formatter("{x:g}" if axis == "minutes" else thousands)
        plain_frame(axes)
    whole.set_ylabel(LABELS[metric])
    handles, labels = whole.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    save(figure, path, dpi=180)


def draw_law(axes: Axes, curves: Sequence[Curve]) -> None:
    """The power law of the baseline off the plateau, where there is one, dotted."""
    if found := law_of(curves) if curves else None:
        flops, law = found
        label = f"baseline: FLOPs^−{law.exponent:.2f}"
        axes.plot(flops, law(flops), color=GREY, lw=1.2, ls=":", label=label)


def draw_band(axes: Axes, curve: Band, name: str, style: dict[str, Any]) -> None:
    """The median as a line that the legend names, and the range as a shade."""
    axes.fill_between(curve.x, curve.low, curve.high, color=style["color"], alpha=0.18, lw=0)
    axes.plot(curve.x, curve.median, label=drawable(short(name, 28)), **style)


def line_style(place: int, is_baseline: bool) -> dict[str, Any]:
    """The baseline in black; the others by colour, then by dashes."""
    if is_baseline:
        return dict(color=BLACK, lw=1.8, ls="-", zorder=3)
    turn, number = divmod(place - 1, len(COLORS))
    return dict(color=COLORS[number], lw=1.6, ls=DASHES[turn % len(DASHES)])


def zoom(axes: Axes, bands: Sequence[Band]) -> None:
    """Limits that hold the last part of every curve, the shortest one's too."""
    end, start = max(b.x[-1] for b in bands), (1 - LATE) * min(b.x[-1] for b in bands)
    low = min(b.low[b.x >= start].min() for b in bands)
    high = max(b.high[b.x >= start].max() for b in bands)
    margin = 0.06 * (high - low) or 0.01
    axes.set(xlim=(start, end), ylim=(low - margin, high + margin))


def thousands(value: float, _: int) -> str:
    """As 2.5M."""
    if abs(value) >= 1e12:
        return f"{value:.3g}"
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def panels(table: Table) -> list[tuple[Metric, list[TableRow]]]:
    """Metrics with the rows that have a difference in them."""
    compared = [
        (metric, [row for row in table.rows[1:] if row.difference(metric)])
        for metric in table.metrics
    ]
    return [(metric, rows) for metric, rows in compared if rows]


def plot_differences(table: Table, path: Path) -> None:
    """A panel for each metric: every pair, the median, the bootstrap and the t interval."""
    shown = panels(table)
    names = [row.name for row in table.rows[1:] if any(row in rows for _, rows in shown)]
    height = -(-len(shown) // COLUMNS)
    width = -(-len(shown) // height)
    figure = new_figure(2.2 + 3.1 * width, height * (1.2 + 0.42 * len(names)) + 0.5)
    places = figure.subplots(height, width, sharey=True, squeeze=False)
    for axes, (metric, _) in zip(places.flat, shown):
        draw_panel(axes, table, metric, names)
    for axes in list(places.flat)[len(shown) :]:
        axes.set_visible(False)
    first = places[0, 0]
    first.set_yticks(range(len(names)), [short(name, 30) for name in names])
    first.set_ylim(len(names) - 0.5, -0.5)
    figure.suptitle(f"Difference to {short(table.baseline.name, 40)}, paired by seed", fontsize=11)
    draw_key(first)
    handles, labels = first.get_legend_handles_labels()
    style: dict[str, Any] = dict(ncols=4, frameon=False, fontsize=8.5)
    figure.legend(handles, labels, loc="outside lower center", **style)
    save(figure, path, dpi=180)


def draw_panel(axes: Axes, table: Table, metric: Metric, names: Sequence[str]) -> None:
    """One metric of all rows that have a difference, its zero line being the baseline."""
    axes.axvline(0, color=BLACK, lw=1)
    for row in table.rows[1:]:
        difference = row.difference(metric)
        if difference:
            pairs = paired(row.cells[metric.name].seeds, table.baseline.cells[metric.name].seeds)
            draw_difference(axes, difference, pairs, names.index(row.name))
    axes.set_title(metric.label, fontsize=10)
    axes.set_xlabel("better →" if metric.higher_is_better else "← better", fontsize=9)
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(axis="y", length=0)
    plain_frame(axes)


def draw_difference(axes: Axes, difference: Difference, pairs: Sequence[float], y: int) -> None:
    """One row of a panel: its intervals as lines, every pair as a ring, the median as a disc."""
    color = VERDICTS.get(difference.verdict, GREY)
    if difference.interval and difference.t_interval:
        axes.plot(difference.t_interval, (y, y), color=color, lw=1, zorder=2)
        bar = axes.plot(difference.interval, (y, y), color=color, lw=3.5, zorder=2)
        bar[0].set_solid_capstyle("butt")
    axes.plot(pairs, [y + 0.22] * len(pairs), "o", ms=3.5, mfc="none", color=color, zorder=2)
    axes.plot(difference.median, y, "o", ms=7, color=color, zorder=3)


def draw_key(axes: Axes) -> None:
    """What the marks of a panel mean, for a legend alone: nothing is seen of them."""
    styles: dict[str, dict[str, Any]] = {
        "median": dict(color=GREY, marker="o", ms=7, ls=""),
        "95 % bootstrap of the median": dict(color=GREY, lw=3.5),
        "95 % t of the mean": dict(color=GREY, lw=1),
        "each seed": dict(color=GREY, marker="o", ms=3.5, mfc="none", ls=""),
        "better": dict(color=VERDICTS["better"], marker="s", ls=""),
        "worse": dict(color=VERDICTS["worse"], marker="s", ls=""),
        "the same": dict(color=VERDICTS["the same"], marker="s", ls=""),
        "not told from the baseline": dict(color=GREY, marker="s", ls=""),
    }
    for label, style in styles.items():
        axes.plot([], [], label=label, **style)
