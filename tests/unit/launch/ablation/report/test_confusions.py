"""Confusion matrices of rows, side by side."""

from __future__ import annotations

from dataclasses import replace

from finetune.report.method_table import MethodScores, TrialScores
from launch.ablation.report import templates
from launch.ablation.report.confusions import confusions
from launch.ablation.report.result_table import build
from tests.unit.launch.ablation.report.example_results import TWEETS


def scored(results, folder, labels=("good <b>", "bad")):
    """The results with a scores.json of two trials for each row and seed."""
    measurements = []
    for number, m in enumerate(m for m in results.measurements if m.metric == TWEETS):
        matrix = [[3, 1], [2, 2]]
        trials = [TrialScores("seed=0", 0, {"accuracy": 0.5}, None, 1.0, matrix)] * 2
        place = folder / str(number)
        MethodScores("BERT", "tweets", "accuracy", list(labels), "s1", trials).write(place)
        measurements.append(replace(m, run_dir=place))
    return replace(results, measurements=tuple(measurements), metrics=(TWEETS,))


def test_matrices_of_a_row_are_added_up_and_shown_beside_the_others(results, tmp_path):
    own = scored(results, tmp_path)
    (matrices,) = confusions(own).values()
    assert [matrix.row for matrix in matrices] == [row.name for row in results.rows]
    trials = 2 * 3 * 5
    assert [[cell.count for cell in line] for line in matrices[0].cells] == [
        [3 * trials, trials],
        [2 * trials, 2 * trials],
    ]
    assert [cell.share for cell in matrices[0].cells[0]] == [0.75, 0.25]
    page = templates.to_page(own, build(own), {})
    assert page.count('style="--share: 0.750"') == len(results.rows)
    assert "good &lt;b&gt;" in page and "<b>" not in page.split("<h2>Classes confused")[1]


def test_many_classes_and_tasks_without_any_have_no_matrix(results, tmp_path):
    assert confusions(results) == {}
    assert confusions(scored(results, tmp_path, labels=[str(n) for n in range(11)])) == {}
