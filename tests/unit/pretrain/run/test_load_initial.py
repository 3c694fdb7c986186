"""Weights to start from must be of a model that computes the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from configs.errors import InputError
from pretrain.model.pretraining import PretrainingModel
from pretrain.run.pretrained import load_initial
from pretrain.run.saved_run import open_run


def test_a_run_with_the_same_shape_gives_its_weights(tiny_run):
    run = open_run(tiny_run)
    model = PretrainingModel(run.config.model, run.tokenizer.vocabulary_size, 1, False)
    load_initial(model, str(tiny_run), run.tokenizer)
    for name, weight in run.model().state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name


@pytest.mark.parametrize(
    "choice",
    [{"feed_forward": "relu2"}, {"tied": False}, {"bias": "none"}, {"norm": "pre"}],
    ids=str,
)
def test_weights_that_would_compute_something_else_are_refused(tiny_run, choice):
    run = open_run(tiny_run)
    other = replace(run.config.model, **choice)
    model = PretrainingModel(other, run.tokenizer.vocabulary_size, 1, False)
    ((name, value),) = choice.items()
    with pytest.raises(InputError, match=f"this run model.{name}={value}: copy the fields"):
        load_initial(model, str(tiny_run), run.tokenizer)
