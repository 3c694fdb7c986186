"""What training by other ways is judged by."""

from __future__ import annotations

import numpy as np
import pytest

from launch.selfchecks import learning
from launch.selfchecks.learning import compare, configuration, trained_plainly
from launch.selfchecks.material import VOCABULARY, vocabulary, write_store
from pretrain.data.store import TokenStore

CURVE = list(np.linspace(7.0, 5.0, 20))


@pytest.mark.parametrize(("factor", "state"), [(1.0, "ok"), (1.009, "ok"), (1.02, "FAILED")])
def test_a_curve_that_leaves_the_other_fails(factor, state):
    found = [*CURVE[:10], *(factor * loss for loss in CURVE[10:])]
    assert compare("", found, CURVE, 0.01).state == state


def test_a_loss_that_is_no_number_fails():
    assert compare("", [*CURVE[:-1], float("nan")], CURVE, 0.01).state == "FAILED"


def test_the_made_up_store_has_something_to_learn(tmp_path, monkeypatch):
    monkeypatch.setattr("launch.selfchecks.material.DOCUMENTS", 20)
    store = TokenStore.open(write_store(tmp_path / "store"), "train")
    words = np.array(store.gather(np.array([0]), np.array([100])))[:100]
    followed = np.mean(words[1:] == (7 * words[:-1] + 3) % 1000)
    assert 0.6 < followed < 0.95
    assert len(vocabulary().continues_word) == VOCABULARY and words.max() < 1000


def test_the_plain_loop_learns_with_a_rate_and_not_without(tmp_path, monkeypatch):
    monkeypatch.setattr("launch.selfchecks.material.DOCUMENTS", 40)
    store = write_store(tmp_path / "store")
    tiny = "model={layers: 1, hidden_size: 32, heads: 2, feed_forward_size: 32}"
    config = configuration(tiny, "optimizer.learning_rate=0.01")
    losses = trained_plainly(store, config, 12)
    assert losses[-1] < 0.97 * losses[0]
    monkeypatch.setattr(learning, "rates", lambda config, steps: [0.0] * steps)
    still = trained_plainly(store, config, 3)
    assert still[0] == pytest.approx(losses[0]) and still[-1] == pytest.approx(still[0], rel=0.02)
