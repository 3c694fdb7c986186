"""Curves with their spread over seeds, and differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from configs.ablation_metrics import Metric
from configs.system.notes import optional
from finetune.report.markdown_tables import short
from launch.ablation.measurements import Results
from launch.ablation.report.confounders import refusal
from launch.ablation.report.curves import Band, Curve, band, read_curve
from launch.ablation.report.table import Table, TableRow
from pretrain.run.plots import drawable, new_figure, save

BLACK, GREY = "#000000", "#8a8a8a"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d")
"""Okabe and Ito's, told apart by colour-blind eyes too; black is the baseline's"""
DASHES = ("-", "--", "-.", ":")
VERDICTS = {"better": "#0072b2", "worse": "#d55e00"}
LABELS = {
    "mlm_loss": "held-out MLM loss (nats per token)",
    "bits_per_byte": "held-out bits per byte",
    "tokens": "training tokens",
    "minutes": "minutes of training",
}
LATE = 1 / 3
"""share of the shortest curve that the second panel shows"""
COLUMNS = 3
"""most panels of differences side by side"""


def write(results: Results, table: Table, folder: Path) -> dict[str, str]:
    """All plots there is something for and that can be drawn; their files' names by what they
    show."""
    metric = curve_metric(results)
    curves = {row.name: row_curves(results, row.name, metric) for row in table.rows}
    curves = {name: found for name, found in curves.items() if found}
    made = {}
    if curves:
        for axis, name in (("tokens", "curves.png"), ("minutes", "curves_time.png")):
            with optional(f"{results.folder}/plots/{name}"):
                plot_curves(curves, table, metric, axis, folder / name)
                made[f"Held-out curves against {'time' if axis == 'minutes' else axis}"] = name
    if panels(table):
        with optional(f"{results.folder}/plots/differences.png"):
            plot_differences(table, folder / "differences.png")
            made["Paired differences"] = "differences.png"
    return made


def curve_metric(results: Results) -> str:
    """What every row's curve shows: the loss, or bits per byte where tokenizers differ."""
    baseline = next(row for row in results.rows if row.name == results.baseline)
    same_units = not any(
        refusal("mlm_loss", row, baseline) and not refusal("bits_per_byte", row, baseline)
        for row in results.rows
    )
    return "mlm_loss" if same_units else "bits_per_byte"


def row_curves(results: Results, row: str, metric: str) -> list[Curve]:
    """Those of all seeds that left one."""
    folders = [path for (name, _), path in results.pretraining_runs.items() if name == row]
    return [curve for folder in folders if (curve := read_curve(folder, metric))]


def plot_curves(
    curves: dict[str, list[Curve]], table: Table, metric: str, axis: str, path: Path
) -> None:
    """Median over seeds as a line, all seeds within the band; the whole run, and its end."""
    bands = {name: band(found, axis) for name, found in curves.items()}
    figure = new_figure(10.5, 4)
    whole, late = figure.subplots(1, 2)
    for place, row in enumerate(row for row in table.rows if row.name in bands):
        found, style = bands[row.name], line_style(place, row.is_baseline)
        for axes in (whole, late):
            axes.fill_between(
                found.x, found.low, found.high, color=style["color"], alpha=0.18, lw=0
            )
            axes.plot(found.x, found.median, label=drawable(short(row.name, 28)), **style)
    zoom(late, list(bands.values()))
    for axes, title in ((whole, "the whole run"), (late, "the last third")):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(LABELS[axis])
        axes.xaxis.set_major_formatter(thousands if axis == "tokens" else plain)
        tidy(axes)
    whole.set_ylabel(LABELS[metric])
    handles, labels = whole.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    save(figure, path, dpi=180)


def line_style(place: int, is_baseline: bool) -> dict:
    """The baseline in black; the others by colour, then by dashes."""
    if is_baseline:
        return dict(color=BLACK, lw=1.8, ls="-", zorder=3)
    turn, number = divmod(place - 1, len(COLORS))
    return dict(color=COLORS[number], lw=1.6, ls=DASHES[turn % len(DASHES)])


def zoom(axes, bands: Sequence[Band]) -> None:
    """Limits that hold the last part of every curve, the shortest one's too."""
    end, start = max(f.x[-1] for f in bands), (1 - LATE) * min(f.x[-1] for f in bands)
    ends = [(f.low[f.x >= start], f.high[f.x >= start]) for f in bands]
    low, high = min(part.min() for part, _ in ends), max(part.max() for _, part in ends)
    margin = 0.06 * (high - low) or 0.01
    axes.set(xlim=(start, end), ylim=(low - margin, high + margin))


def thousands(value: float, _: int) -> str:
    """2.5M"""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def plain(value: float, _: int) -> str:
    """2.5"""
    return f"{value:g}"


def panels(table: Table) -> list[tuple[Metric, list[TableRow]]]:
    """Metrics with the rows that have a difference in them."""
    rows = table.rows[1:]
    found = [
        (m, [r for r in rows if m.name in r.cells and r.cells[m.name].difference])
        for m in table.metrics
    ]
    return [(metric, with_difference) for metric, with_difference in found if with_difference]


def plot_differences(table: Table, path: Path) -> None:
    """A panel for each metric: every pair, the median, the bootstrap and the t interval."""
    shown = panels(table)
    names = [row.name for row in table.rows[1:] if any(row in rows for _, rows in shown)]
    height = -(-len(shown) // COLUMNS)
    width = -(-len(shown) // height)
    figure = new_figure(2.2 + 3.1 * width, height * (1.2 + 0.42 * len(names)) + 0.5)
    grid = figure.subplots(height, width, sharey=True, squeeze=False)
    for axes, (metric, rows) in zip(grid.flat, shown):
        draw_panel(axes, table, metric, rows, names)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    first = grid[0, 0]
    first.set_yticks(range(len(names)), [short(name, 30) for name in names])
    first.set_ylim(len(names) - 0.5, -0.5)
    figure.suptitle(f"Difference to {short(table.baseline.name, 40)}, paired by seed", fontsize=11)
    figure.legend(
        handles=legend_handles(first),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=8.5,
    )
    save(figure, path, dpi=180)


def draw_panel(
    axes, table: Table, metric: Metric, rows: Sequence[TableRow], names: Sequence[str]
) -> None:
    """One metric of all rows, its zero line being the baseline."""
    axes.axvline(0, color=BLACK, lw=1)
    partner = {seed.seed: seed.value for seed in table.baseline.cells[metric.name].seeds}
    for row in rows:
        cell, y = row.cells[metric.name], names.index(row.name)
        found = cell.difference
        color = VERDICTS.get(found.verdict, GREY)
        if found.interval and found.t_interval:
            axes.plot(found.t_interval, (y, y), color=color, lw=1, zorder=2)
            axes.plot(found.interval, (y, y), color=color, lw=3.5, zorder=2, solid_capstyle="butt")
        pairs = [seed.value - partner[seed.seed] for seed in cell.seeds if seed.seed in partner]
        axes.plot(pairs, [y + 0.22] * len(pairs), "o", ms=3.5, mfc="none", color=color, zorder=2)
        axes.plot(found.median, y, "o", ms=7, color=color, zorder=3)
    axes.set_title(metric.label, fontsize=10)
    axes.set_xlabel(f"{'better →' if metric.higher_is_better else '← better'}", fontsize=9)
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(axis="y", length=0)
    tidy(axes)


def legend_handles(axes) -> list:
    """What the marks of a panel mean, drawn nowhere else."""
    styles = {
        "median": dict(color=GREY, marker="o", ms=7, ls=""),
        "95 % bootstrap of the median": dict(color=GREY, lw=3.5),
        "95 % t of the mean": dict(color=GREY, lw=1),
        "each seed": dict(color=GREY, marker="o", ms=3.5, mfc="none", ls=""),
        "better": dict(color=VERDICTS["better"], marker="s", ls=""),
        "worse": dict(color=VERDICTS["worse"], marker="s", ls=""),
        "not told from the baseline": dict(color=GREY, marker="s", ls=""),
    }
    return [axes.plot([], [], label=label, **style)[0] for label, style in styles.items()]


def tidy(axes) -> None:
    """No frame, a faint grid."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
