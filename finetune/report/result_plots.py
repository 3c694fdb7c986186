"""Results as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from finetune.report.markdown_tables import short
from finetune.scoring.metrics import Bin
from pretrain.run.figures import BLUE, GREY, ORANGE, drawable, new_figure, plain_frame, save

SURE = 0.55
"""share of a row above which white figures read better"""
MOST_CLASSES = 40
"""that have their names and figures in a confusion matrix; of more there are colours alone"""
NAME = 40
"""longest name of a class in characters"""


def plot_confusion(matrix: np.ndarray, labels: Sequence[str], title: str, path: Path) -> bool:
    """Each cell: the share of its row, by colour and in figures, and the count."""
    is_large = len(labels) > MOST_CLASSES
    size = 12 if is_large else 2.2 + 0.9 * len(labels)
    figure = new_figure(size + 0.8, size)
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    if not is_large:
        for (row, column), share in np.ndenumerate(shares):
            color = "white" if share > SURE else "black"
            text = f"{share:.0%}\n{matrix[row, column]:,}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
        wrapped = [short(label, NAME).replace(" ", "\n") for label in labels]
        axes.set_xticks(range(len(wrapped)), wrapped)
        axes.set_yticks(range(len(wrapped)), wrapped)
    axes.set(xlabel="taken for", ylabel="is")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=11)
    return save(figure, path)


def plot_calibration(bins: Sequence[Bin], error: float, title: str, path: Path) -> bool:
    """Accuracy against confidence; the area of a point is the number of its predictions."""
    figure = new_figure(5, 4.6)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "--", color=GREY, lw=1, label="perfectly calibrated")
    counts = np.array([b.count for b in bins])
    confidence, accuracy = [b.confidence for b in bins], [b.accuracy for b in bins]
    axes.plot(confidence, accuracy, color=BLUE, lw=1)
    axes.scatter(confidence, accuracy, 20 + 300 * counts / counts.max(), color=BLUE, alpha=0.6)
    low = max(0.0, min([*confidence, *accuracy]) - 0.1)
    axes.set(xlim=(low, 1.03), ylim=(low, 1.03), xlabel="confidence", ylabel="accuracy")
    axes.set_title(f"{title}: expected calibration error {error:.3f}", fontsize=11)
    axes.legend(frameon=False, loc="upper left")
    plain_frame(axes)
    return save(figure, path)


def plot_trials(curves: dict[str, list[tuple[int, float]]], metric: str, path: Path) -> bool:
    """The dev score of every trial by step, the best one in colour."""
    figure = new_figure(6.5, 4)
    axes = figure.subplots()
    best = max(curves, key=lambda name: max(value for _, value in curves[name]))
    for name, points in curves.items():
        steps, values = zip(*points)
        style: dict[str, Any] = {"lw": 1, "color": GREY, "alpha": 0.6}
        if name == best:
            style = {"lw": 2, "color": ORANGE, "zorder": 3, "label": drawable(name)}
        axes.plot(steps, values, "o-", ms=4, **style)
    axes.set(xlabel="step", ylabel=f"dev {metric}")
    axes.legend(frameon=False, title="best trial", loc="lower right")
    plain_frame(axes)
    return save(figure, path)
