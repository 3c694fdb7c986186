"""The data report's parts about texts: lengths, words, tokens, cleaning, examples.

All are about the training split, so that nobody chooses by what dev and test hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from configs.system.safe_text import Markup, markdown
from finetune.data.preprocess import steps_of
from finetune.explore import data_plots, task_data
from finetune.explore.task_data import SHARES, TaskData, TokenCounts, summarize
from finetune.explore.terms import Term, Terms, choose_terms, count_terms, keep_hashtags
from finetune.report.markdown_tables import Gallery, bullets, percent, short, table

FREQUENT, LISTED, DRAWN, SHOWN = 30, 15, 10, 3
"""words overall; terms of a label in tables and in plots; its examples"""
EXAMPLE = 240
"""longest quotation in characters"""
NGRAMS = {"word": 1, "bigram": 2, "trigram": 3}
WORDS = (
    "Of training texts. Raw tokens are what stands between spaces in the file. Words and hashtags "
    "are in small letters, without links and mentions; stop words (list: {}) are left out, so a "
    "bigram or trigram may stand across one. Typical terms have the highest log-odds against all "
    "other labels, in standard deviations, under an informative Dirichlet prior (Monroe et al., "
    "2008)."
)
AXES = {
    "frequent": "occurrences",
    "typical": "log-odds against all other labels (standard deviations); figures: occurrences",
}
QUANTILES = "(Line: from the 5 % to the 95 % quantile; point: median.)"


def lengths_part(data: TaskData, tokens: TokenCounts, gallery: Gallery) -> list[str]:
    """Words and tokens of the cleaned training texts, by label."""
    targets = np.array([example.label for example in data.splits.train])
    sizes = {
        "words": np.array([task_data.words_of(example) for example in data.splits.train]),
        f"tokens ({tokens.name})": tokens.lengths,
    }
    header = [*(f"{100 * share:g} %" if share != 0.5 else "median" for share in SHARES), "longest"]
    parts, panels = ["## Lengths", "Of training texts, cleaned; a word stands between spaces."], {}
    for unit, lengths in sizes.items():
        groups = {
            label: lengths[targets == place]
            for place, label in enumerate(data.splits.labels)
            if place in targets
        }
        panels[unit] = groups
        sums = [(label, summarize(own)) for label, own in (*groups.items(), ("all", lengths))]
        rows = [[label, s.texts, f"{s.mean:.1f}", *s.quantiles, s.longest] for label, s in sums]
        parts.append(table([unit, "texts", "mean", *header], rows))
    drawn = gallery.add("lengths", "lengths by label", data_plots.plot_lengths, panels)
    return [*parts, drawn, QUANTILES]


def words_part(data: TaskData, terms: Sequence[str], gallery: Gallery) -> list[str]:
    """Frequent and typical hashtags, tokens and runs of words.

    Args:
        terms: of the training texts, after `term_steps`.
    """
    raw = task_data.texts_of(data.splits.train, raw=True)
    classes = [example.label for example in data.splits.train]
    if len(terms) > len(classes):  # of pairs: all first texts, then all second ones
        classes = [*classes, *classes]
    parts = ["## Words", WORDS.format(data.config.preprocess.stop_words)]
    units = {
        "hashtag": (list(map(keep_hashtags, terms)), 1),
        "raw token": (raw, 1),
        **{unit: (terms, words) for unit, words in NGRAMS.items()},
    }
    for unit, (texts, words) in units.items():
        counted = count_terms(texts, classes, len(data.splits.labels), words)
        if counted is not None:
            parts += unit_part(data, unit, counted, len(terms), gallery)
    return parts


def unit_part(data: TaskData, unit: str, terms: Terms, texts: int, gallery: Gallery) -> list[str]:
    """One kind of terms: the commonest, and those of each label in tables and plots."""
    (commonest,) = choose_terms(terms.merged([0] * len(terms.counts_CF)), "frequent", FREQUENT)
    holders = dict(zip(terms.names, terms.texts_F))
    rows = [[term.name, term.count, percent(holders[term.name] / texts)] for term in commonest]
    parts = [f"### Frequent {unit}s", table(["term", "count", "texts with it, %"], rows)]
    parts += [f"### {unit.capitalize()}s by label", terms_table(terms, data.splits.labels)]
    if data.task.shown_labels != data.splits.labels:
        terms = terms.merged(data.task.places)
        parts += ["Merged:", terms_table(terms, data.task.shown_labels)]
    for kind, axis in AXES.items():
        title = f"{kind} {unit}s"
        chosen = dict(zip(data.task.shown_labels, choose_terms(terms, kind, DRAWN)))
        name = title.replace(" ", "_")
        parts.append(gallery.add(name, title, data_plots.plot_terms, chosen, axis))
    return parts


def terms_table(terms: Terms, labels: Sequence[str]) -> str:
    """One line a label: its frequent and its typical terms."""
    often, typical = (choose_terms(terms, kind, LISTED) for kind in AXES)
    rows = [
        [label, listed(own, "{0.count:,}"), listed(best, "{0.score:.1f}")]
        for label, own, best in zip(labels, often, typical)
    ]
    return table(["label", "most frequent (count)", "most typical (z)"], rows)


def listed(terms: Sequence[Term], form: str) -> str:
    """Terms in one cell, each with what the format `form` shows of it."""
    return Markup(", ".join(f"{markdown(t.name, in_table=True)} ({form.format(t)})" for t in terms))


def tokens_part(
    counts: Sequence[TokenCounts], heldout: Sequence[TokenCounts], max_length: int, gallery: Gallery
) -> list[str]:
    """What each tokenizer makes of the same texts."""
    header = ["tokenizer", "kind", "entries", "mean", "median", "95 %", "longest"]
    header += [f"beyond {max_length}, %", "tokens a word", "tokens a word, dev", "unknown, %"]
    rows: list[list[object]] = []
    for own, dev in zip(counts, heldout):
        summary = summarize(own.lengths)
        median, _, high, _ = summary.quantiles
        sizes = [f"{summary.mean:.1f}", median, high, summary.longest, beyond(own, max_length)]
        fertility = [f"{own.tokens_per_word:.3f}", f"{dev.tokens_per_word:.3f}"]
        unknown = f"{100 * own.unknown:.3f}"
        rows.append([own.name, own.kind, own.entries, *sizes, *fertility, unknown])
    lengths = {own.name: own.lengths for own in counts}
    return [
        "## Tokens per example",
        "Of cleaned training texts, special tokens included in lengths.",
        table(header, rows),
        gallery.add("tokens", "tokens by tokenizer", data_plots.plot_tokens, lengths, max_length),
        QUANTILES,
    ]


def beyond(counts: TokenCounts, max_length: int) -> str:
    """Share of examples that the model must cut, in percent."""
    return f"{100 * (counts.lengths > max_length).mean():.2f}"


def cleaning_part(data: TaskData, counted: Sequence[task_data.CleaningStep]) -> list[str]:
    """What each step takes away: the task's own steps, and those of the word counts."""
    train = task_data.texts_of(data.splits.train, raw=True)
    own, _ = task_data.clean_by_steps(train, steps_of(data.config.preprocess))
    parts = ["## Cleaning", "Words of the training texts after each step."]
    for title, steps in (("The task's steps:", own), ("For the word counts:", counted)):
        rows = [
            [s.name, s.words, f"{s.words / len(train):.2f}", percent(s.changed / len(train))]
            for s in steps
        ]
        header = ["step", "words", "words a text", "texts changed, %"]
        if len(steps) > 1:
            parts += [title, table(header, rows)]
    return parts


def examples_part(data: TaskData) -> list[str]:
    """The first training texts of every label, as they are in the file."""
    parts = ["## Examples"]
    for place, label in enumerate(data.splits.labels):
        chosen = [example for example in data.splits.train if example.target == place][:SHOWN]
        texts = [e.raw if e.pair is None else f"{e.raw} / {e.pair}" for e in chosen]
        parts += [f"**{markdown(label)}**", bullets(short(text, EXAMPLE) for text in texts)]
    return parts
