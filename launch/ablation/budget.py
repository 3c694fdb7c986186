"""Equal budgets: each row's schedule, so long that all rows spend the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import numpy as np

from configs.ablation_schema import BudgetConfig
from configs.errors import InputError
from configs.schema import PretrainConfig
from launch.ablation.compute import Work, steps_for, with_limit

CLOSE = 1.02
"""ratio up to which numbers of tokens count as equal: a run ends with a whole step"""


def with_budget(
    config: PretrainConfig, budget: BudgetConfig, baseline: PretrainConfig, makes_store: bool
) -> PretrainConfig:
    """The recipe with a schedule that spends the budget.

    Args:
        baseline: its schedule is the budget where no amount is named.
        makes_store: make the store that tells how many bytes a token has, where it is missing.
    Raises:
        InputError: the amount can be found nowhere.
    """
    amount = budget.amount or amount_of(baseline, budget, makes_store)
    if budget.of == "minutes":
        return with_limit(config, max_minutes=amount)
    if budget.of == "flops":
        return with_limit(config, max_steps=steps_for(config, vocabulary_of(config), amount))
    tokens = amount / bytes_per_token(config, makes_store) if budget.of == "bytes" else amount
    return with_limit(config, max_tokens=max(1, round(tokens)))


def amount_of(config: PretrainConfig, budget: BudgetConfig, makes_store: bool) -> float:
    """What a recipe's own schedule comes to, in the budget's unit."""
    if budget.of == "minutes":
        minutes = config.schedule.max_minutes
        return minutes if minutes else _refuse_amount("schedule.max_minutes")
    tokens = planned_tokens(config) or _refuse_amount("schedule.max_tokens")
    if budget.of == "flops":
        return planned_flops(config, tokens)
    return tokens * (bytes_per_token(config, makes_store) if budget.of == "bytes" else 1)


def planned_tokens(config: PretrainConfig) -> float | None:
    """Of a schedule in tokens or steps; None for one in passes or minutes."""
    schedule = config.schedule
    if schedule.max_tokens or not schedule.max_steps:
        return schedule.max_tokens
    return Work.of(config, vocabulary_of(config)).tokens_after(schedule.max_steps)


def planned_flops(config: PretrainConfig, tokens: float) -> float:
    """Of so many training tokens."""
    return float(Work.of(config, vocabulary_of(config)).flops_at(np.array([tokens]))[0])


def vocabulary_of(config: PretrainConfig) -> int:
    """As doctor knows it before there is a tokenizer."""
    from launch.diagnosis.examine import vocabulary_size

    return vocabulary_size(config)


def bytes_per_token(config: PretrainConfig, makes_store: bool) -> float:
    """Bytes of text that a token of the recipe's store stands for, over all of its training text.

    Raises:
        InputError: there is no store yet, and none may be made.
    """
    from launch.diagnosis.dry_run import find_corpus
    from pretrain.data.corpus import prepare

    corpus = prepare(config) if makes_store else find_corpus(config)
    if corpus is None:
        raise InputError(
            "budget.of=bytes counts the text of a store that is not there yet: start the ablation "
            "without --dry-run, --table and --submit, which makes it"
        )
    return corpus.train.text_bytes / corpus.train.token_count


def describe(budget: BudgetConfig, configs: Iterable[PretrainConfig]) -> str:
    """What all rows spend the same of, in words."""
    if budget.of != "recipe":
        return {"flops": "equal FLOPs", "bytes": "equal bytes of text"}.get(
            budget.of, f"equal {budget.of}"
        )
    rows = list(configs)
    for name, words in (("max_minutes", "equal minutes"), ("max_epochs", "equal passes")):
        limits = {getattr(row.schedule, name) for row in rows}
        if len(limits) == 1 and None not in limits:
            return words
    tokens = [planned_tokens(row) or 0.0 for row in rows]
    is_equal = tokens and 0 < max(tokens) <= CLOSE * min(tokens)
    return "equal tokens" if is_equal else "unequal budgets"


def _refuse_amount(field: str) -> NoReturn:
    raise InputError(f"budget.amount is missing, and the baseline sets no {field}: name either")
