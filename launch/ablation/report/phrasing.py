"""Figures and verdicts as words, the same in every format."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from configs.ablation_metrics import Metric
from launch.ablation.report.result_table import Table, TableCell, TableRow
from launch.ablation.report.statistics import Summary
from launch.ablation.report.verdicts import RULE, RULE_OF_LOOKS, Difference

SETTLED = ("better", "worse")
ORDER = (*SETTLED, "the same", "cannot tell", "too few seeds to tell")


def number(value: float, metric: Metric, signed: bool = False) -> str:
    """12.31, or -0.12 and +0.12 with a true minus sign; no minus before a zero."""
    sign = "+" if signed else ""
    text = f"{value:{sign},.{metric.digits}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def quartiles(summary: Summary, metric: Metric) -> str:
    """12.25–12.40; empty for fewer than three values."""
    if summary.quartiles is None:
        return ""
    return "–".join(number(value, metric) for value in summary.quartiles)


def middle(row: TableRow, metric: Metric) -> str:
    """Median (quartiles), interquartile mean and n: `12.31 (12.25–12.40) IQM 12.32 n=3`; empty
    where it is not measured."""
    cell = row.cells.get(metric.name)
    if cell is None:
        return ""
    spread = quartiles(cell.summary, metric)
    shown = f" ({spread}) IQM {number(cell.summary.iqm, metric)}" if spread else ""
    return f"{number(cell.summary.median, metric)}{shown} n={count(cell)}"


def count(cell: TableCell) -> str:
    """Pretraining seeds: `3`; with fine-tuning seeds within each: `3×5`, or `3×4–5`."""
    trials = [len(seed.trials) for seed in cell.seeds]
    if not any(trials):
        return str(cell.summary.count)
    few, many = min(trials), max(trials)
    return f"{cell.summary.count}×{few}" + (f"–{many}" if many > few else "")


def interval(bounds: tuple[float, float] | None, metric: Metric) -> str:
    """[−0.20, −0.05]; empty where there is none."""
    if bounds is None:
        return ""
    return f"[{number(bounds[0], metric, True)}, {number(bounds[1], metric, True)}]"


def change(difference: Difference, metric: Metric) -> str:
    """The median difference and its bootstrap interval: `−0.12 [−0.20, −0.05]`."""
    median = number(difference.median, metric, True)
    return f"{median} {interval(difference.interval, metric)}".rstrip()


def p_value(p: float | None) -> str:
    """Two digits, `0.012`; `<1e-6` for less, and empty where there is none."""
    if p is None:
        return ""
    return "<1e-6" if p < 1e-6 else f"{p:.2g}"


def verdict(difference: Difference) -> str:
    """As `better`, or `the same within 0.01`."""
    if difference.verdict != "the same":
        return difference.verdict
    return f"the same within {difference.same_within:.3g}"


def rule(table: Table) -> str:
    """How verdicts are made, and with what numbers in this table."""
    judged = {m.label: [d for row in table.rows if (d := row.difference(m))] for m in table.metrics}
    tested = sum(d.p_value is not None for found in judged.values() for d in found)
    margins = [
        f"{found[0].same_within:.3g} ({label})"
        for label, found in judged.items()
        if found and found[0].same_within is not None
    ]
    here = f" Here {tested} verdicts are corrected for" if tested else ""
    within = f"{',' if here else ' Here'} δ is {listed(margins)}" if margins else ""
    looks = f" {RULE_OF_LOOKS.format(most=table.most_seeds)}" if table.most_seeds else ""
    return RULE + looks + here + within + ("." if here or within else "")


def tests(difference: Difference, metric: Metric) -> str:
    """What else is known of a difference, for a reader who asks."""
    facts = {
        "95 % t interval of the mean": interval(difference.t_interval, metric),
        "p of the sign-flip test": p_value(difference.p_sign_flip),
        f"p of the same within {difference.same_within or 0:.3g}": p_value(difference.p_same),
        "corrected": p_value(difference.p_same_holm),
        "probability of improvement": f"{difference.improvement:.2f}",
    }
    return "; ".join(f"{name}: {value}" for name, value in facts.items() if value)


def reference(table: Table, row: TableRow, name: str) -> str:
    """A paper's figure, with the decimals of its column; empty where it has none."""
    if name not in row.reference:
        return ""
    column = [f"{r.reference[name]:.10g}" for r in table.rows if name in r.reference]
    decimals = max(len(text.partition(".")[2]) for text in column)
    return f"{row.reference[name]:,.{decimals}f}".replace("-", "−")


def direction(metric: Metric) -> str:
    """Which way is good."""
    if not metric.is_result:
        return "a fact, not judged"
    return "higher is better" if metric.higher_is_better else "lower is better"


def heading(metric: Metric) -> str:
    """The metric's name, with an arrow to where it is good; a fact has none."""
    arrow = "↑" if metric.higher_is_better else "↓"
    return f"{metric.label} {arrow}" if metric.is_result else metric.label


def answers(table: Table) -> list[str]:
    """One sentence for each metric: which rows differ from the baseline, and which cannot be told
    from it."""
    return [f"{m.label} ({direction(m)}): {answer(table, m)}" for m in table.metrics if m.is_result]


def answer(table: Table, metric: Metric) -> str:
    """What the verdicts of one metric say, as a sentence."""
    groups: dict[str, list[str]] = defaultdict(list)
    sizes = {}
    for row in table.rows[1:]:
        difference = row.difference(metric)
        said = verdict(difference) if difference else reason(row.cells.get(metric.name))
        groups[said].append(row.label)
        sizes[row.label] = number(abs(difference.median), metric) if difference else ""
    parts = [
        phrase(key, groups[key], [sizes[name] for name in groups[key]], table.baseline.name)
        for key in sorted(groups, key=place)
    ]
    text = "; ".join(parts) or "there is no other row"
    return f"{text}."


def place(said: str) -> tuple[int, str]:
    """Where a verdict stands in a sentence; reasons for having none come last, by name."""
    places = [number for number, known in enumerate(ORDER) if said.startswith(known)]
    return (places[0] if places else len(ORDER)), said


def phrase(said: str, rows: Sequence[str], sizes: Sequence[str], baseline: str) -> str:
    """What holds for the rows of one verdict, or of one reason for having none."""
    names = listed(rows)
    are = "is" if len(rows) == 1 else "are"
    if said in SETTLED and len(rows) == 1:
        return f"{names} is {said} than {baseline} by {sizes[0]}"
    if said in SETTLED:
        pairs = listed(f"{name} (by {size})" for name, size in zip(rows, sizes))
        return f"{pairs} are {said} than {baseline}"
    if said.startswith("the same"):
        return f"{names} {are} {said.replace('same', 'same as ' + baseline)}"
    if said == "cannot tell":
        return f"{names} cannot be told from {baseline} within seed noise"
    if said == "too few seeds to tell":
        return f"too few seeds to tell {names} from {baseline}"
    return f"{names} {are} not compared ({said})"


def reason(cell: TableCell | None) -> str:
    """Why a row has no difference."""
    if cell is None:
        return "not measured"
    return cell.refused or "the baseline is not measured"


def findings(table: Table) -> list[str]:
    """For each difference that a paper reports in a metric measured here: whether it is found."""
    return [
        finding(table, row, metric)
        for metric in table.metrics
        for row in table.rows[1:]
        if metric.name in row.reference and metric.name in table.baseline.reference
    ]


def finding(table: Table, row: TableRow, metric: Metric) -> str:
    """One reported difference against ours."""
    reported = row.reference[metric.name] - table.baseline.reference[metric.name]
    difference = row.difference(metric)
    ours = f"here {change(difference, metric)}" if difference else "not compared here"
    theirs = number(reported, metric, True)
    who = f"{row.name} against {table.baseline.name}"
    who_says = f"{table.source} reports" if table.source else "reported"
    return f"{metric.label}, {who}: {who_says} {theirs}, {ours}: {agreement(reported, difference)}."


def agreement(reported: float, difference: Difference | None) -> str:
    """Whether the direction that a paper reports is found."""
    if difference is None:
        return "cannot be compared"
    if difference.verdict == "the same":
        return f"does not show at this scale: {verdict(difference)}"
    if difference.verdict not in SETTLED or reported == 0:
        return "cannot be told apart from noise"
    same = (reported > 0) == (difference.median > 0)
    return "reproduces at this scale" if same else "does not reproduce at this scale"


def listed(names: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def settings(values: dict[str, Any]) -> str:
    """Fields as they are typed on a command line."""
    return " ".join(f"{name}={'null' if v is None else v}" for name, v in values.items())


def finetuning(cell: TableCell, metric: Metric) -> str:
    """How far fine-tuning seeds lie apart; empty for what has none."""
    if cell.finetuning_spread is None:
        return ""
    return f"{number(cell.finetuning_spread, metric)} between fine-tuning seeds"
