"""A run is opened from its folder alone, and what is wrong with it is told in one line."""

from __future__ import annotations

import pytest
import torch

from configs.errors import InputError
from configs.schema import CheckpointConfig
from configs.system.run_folder import RunFolder
from pretrain.model.pretraining import make_model
from pretrain.run.checkpoint import Writer
from pretrain.run.checkpoint_state import ROPE_THETA, State
from pretrain.run.saved_run import open_run
from tests.unit.pretrain.run.runs import TEXTS, FakeEngine, tiny_config, write_run
from tokenizer.training import train_tokenizer


def test_all_parts_are_those_that_the_run_had(tmp_path):
    engine = write_run(tmp_path)
    run = open_run(tmp_path)
    assert run.config == tiny_config(tmp_path)
    assert run.state.step == 2 and run.checkpoint.name == "step-00000002"
    assert run.tokenizer.fingerprint == run.state.fingerprints["tokenizer"]
    for weights in (run.weights(), run.model().state_dict()):
        for name, parameter in engine.model.named_parameters():
            assert torch.equal(weights[name], parameter), name


def test_an_earlier_checkpoint_can_be_asked_for(tmp_path):
    write_run(tmp_path, steps=(1, 5, 9))
    assert open_run(tmp_path, up_to_step=5).state.step == 5
    assert open_run(tmp_path, up_to_step=8).state.step == 5
    with pytest.raises(InputError, match="no whole checkpoint from before step 0"):
        _ = open_run(tmp_path, up_to_step=0).checkpoint


def test_a_damaged_checkpoint_is_passed_over(tmp_path, console):
    write_run(tmp_path)
    (RunFolder(tmp_path).checkpoints / "step-00000002" / "model.safetensors").write_bytes(b"torn")
    assert open_run(tmp_path).state.step == 1
    assert "step-00000002 is damaged (content of model.safetensors" in console.readouterr().err


def test_what_is_no_run_is_refused_as_the_user_has_called_it(tmp_path):
    with pytest.raises(InputError, match=r"--model .*: no run folder \(config.yaml is missing\)"):
        open_run(tmp_path, f"--model {tmp_path}")
    write_run(tmp_path, steps=())
    with pytest.raises(InputError, match=r"^model=a: no whole checkpoint yet: let its run finish"):
        open_run(tmp_path, "model=a").weights()


def test_the_model_is_as_its_checkpoint_left_it(tmp_path):
    """A phase changes the base of rotary angles; what was started stays to be read."""
    engine = write_run(tmp_path, steps=())
    path, folder = RunFolder(tmp_path).config, RunFolder(tmp_path).checkpoints
    text = path.read_text().replace("position: learned", "position: rope")
    path.write_text(text.replace("phases: []", "phases: [{from_steps: 2, rope_theta: 77.0}]"))
    run = open_run(tmp_path)
    engine = FakeEngine(make_model(run.started, run.tokenizer))
    writer = Writer(folder, CheckpointConfig(keep=2, asynchronous=False))
    fingerprints = {"tokenizer": run.tokenizer.fingerprint}
    for step, theta in ((1, 10_000.0), (3, 77.0)):
        writer.save(engine, State(step, fingerprints=fingerprints, extra={ROPE_THETA: theta}))
    for step, theta in ((1, 10_000.0), (3, 77.0)):
        run = open_run(tmp_path, up_to_step=step)
        assert run.config.model.rope_theta == run.model().encoder.rope_theta == theta
        assert run.started.model.rope_theta == 10_000.0


def test_a_part_that_is_not_asked_for_is_not_read(tmp_path):
    write_run(tmp_path, steps=())
    (RunFolder(tmp_path).tokenizer / "tokenizer.json").write_text("torn")
    assert open_run(tmp_path).config.max_length == 16


def test_another_tokenizer_in_its_place_is_refused(tmp_path):
    write_run(tmp_path)
    other = train_tokenizer(
        tiny_config(tmp_path).tokenizer, [*TEXTS, "xylophones quiz vexed jocks"]
    )
    other.save(RunFolder(tmp_path).tokenizer)
    with pytest.raises(InputError, match=r"is not the tokenizer that .*step-00000002 was trained"):
        open_run(tmp_path).weights()


def test_weights_of_another_shape_are_refused(tmp_path):
    write_run(tmp_path)
    config = RunFolder(tmp_path).config
    config.write_text(config.read_text().replace("hidden_size: 16", "hidden_size: 32"))
    with pytest.raises(InputError, match="it belongs to another model"):
        open_run(tmp_path).weights()
