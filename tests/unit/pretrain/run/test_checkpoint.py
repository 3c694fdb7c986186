"""The format of a checkpoint: what is written, what is read again, and what is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from configs.errors import InputError
from configs.schema import CheckpointConfig
from pretrain.run import checkpoint, checkpoint_state
from pretrain.run.checkpoint import MOMENTS, Writer
from pretrain.run.checkpoint_folder import list_checkpoints, step_of
from pretrain.run.checkpoint_state import State
from tests.unit.pretrain.run.runs import FakeEngine

STATE = State(
    step=7,
    skipped_steps=2,
    elapsed_minutes=1.5,
    tokens=1000.0,
    fingerprints={"seed": "a", "corpus": "b"},
    precision="bf16",
    store="/data/store",
    world_size=2,
    micro_sequences=4,
)


def tiny_engine(seed: int = 0) -> FakeEngine:
    engine = FakeEngine(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)))
    engine.fill(seed)
    return engine


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of step 7."""
    Writer(tmp_path, CheckpointConfig(asynchronous=False)).save(tiny_engine(), STATE)
    return tmp_path / "step-00000007"


def reseal(folder) -> None:
    """Let the hashes be those of the files as they are now."""
    files = ("model.safetensors", "optimizer.safetensors", "state.json")
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    (folder / "manifest.json").write_text(json.dumps(hashes))
    mark = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    (folder / "complete").write_text(f"{mark}\n")


def test_five_files_are_written_and_nothing_else(saved):
    names = {"model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}
    assert {path.name for path in saved.iterdir()} == {*names, "complete"}
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_the_manifest_hashes_the_three_and_the_mark_hashes_the_manifest(saved):
    content = {p.name: (saved / p.name).read_bytes() for p in saved.iterdir()}
    reseal(saved)
    assert {p.name: (saved / p.name).read_bytes() for p in saved.iterdir()} == content
    assert checkpoint.find_damage(saved) is None


def test_weights_stand_under_their_names_and_moments_under_theirs_too(saved):
    engine = tiny_engine()
    weights, moments = (load_file(saved / f"{name}.safetensors") for name in ("model", "optimizer"))
    parameters = dict(engine.model.named_parameters())
    assert weights.keys() == parameters.keys()
    assert moments.keys() == {f"{n}.{m}" for n in parameters for m in ("exp_avg", "exp_avg_sq")}
    assert all(tensor.dtype == torch.float32 for tensor in (*weights.values(), *moments.values()))
    for name, parameter in parameters.items():
        assert torch.equal(weights[name], parameter)
        assert torch.equal(moments[f"{name}.exp_avg"], engine.full_moment(parameter, "exp_avg"))


def test_the_state_is_plain_json_of_known_fields(saved):
    assert json.loads((saved / "state.json").read_text()) == {
        "step": 7,
        "skipped_steps": 2,
        "elapsed_minutes": 1.5,
        "tokens": 1000.0,
        "fingerprints": {"seed": "a", "corpus": "b"},
        "precision": "bf16",
        "store": "/data/store",
        "world_size": 2,
        "micro_sequences": 4,
        "learning_rate": None,
        "evaluated_step": None,
        "extra": {},
    }
    assert checkpoint_state.read_state(saved, STATE.fingerprints) == STATE


def test_an_engine_gets_back_what_it_saved_and_how_many_updates_it_has_seen(saved):
    other, own = tiny_engine(seed=1), tiny_engine()
    checkpoint.restore(saved, other, STATE)
    assert other.step == 5, "skipped steps were no updates"
    for theirs, ours in zip(other.model.parameters(), own.model.parameters()):
        assert torch.equal(theirs, ours)
        for moment in checkpoint.MOMENTS:
            assert torch.equal(other.full_moment(theirs, moment), own.full_moment(ours, moment))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("step", -1),
        ("step", True),
        ("step", 1.0),
        ("skipped_steps", 8),
        ("skipped_steps", -1),
        ("elapsed_minutes", -0.1),
        ("elapsed_minutes", "1"),
        ("tokens", None),
        ("fingerprints", []),
        ("precision", "fp16"),
        ("world_size", 1.0),
        ("micro_sequences", "auto"),
    ],
)
def test_a_state_that_no_run_writes_is_refused(saved, field, value):
    content = json.loads((saved / "state.json").read_text()) | {field: value}
    (saved / "state.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"written by another version \\({field}="):
        checkpoint_state.read_state(saved, {})


def test_an_unknown_or_missing_field_of_the_state_is_refused(saved):
    content = json.loads((saved / "state.json").read_text())
    for changed in ({**content, "magic": 1}, {k: v for k, v in content.items() if k != "step"}):
        (saved / "state.json").write_text(json.dumps(changed))
        with pytest.raises(InputError, match="written by another version"):
            checkpoint_state.read_state(saved, {})


def test_another_fingerprint_is_refused_unless_it_is_allowed(saved):
    with pytest.raises(InputError, match=r"made with seed=a, the configuration makes c: .*=.seed"):
        checkpoint_state.read_state(saved, {"seed": "c"})
    with pytest.raises(InputError, match=r"resume with data\.store=/data/store"):
        checkpoint_state.read_state(saved, {"corpus": "c"})
    with pytest.raises(InputError, match="made with vocabulary=None"):
        checkpoint_state.read_state(saved, {"vocabulary": "9"})
    assert checkpoint_state.read_state(saved, {"seed": "c"}, allowed=["seed"]) == STATE


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_changed_file_is_damage(saved, name):
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert checkpoint.find_damage(saved) == f"content of {name} has changed"


def test_a_changed_manifest_and_a_missing_mark_are_damage(saved):
    (saved / "manifest.json").write_text("{}")
    assert checkpoint.find_damage(saved) == "content of manifest.json or complete has changed"
    (saved / "complete").unlink()
    assert "FileNotFoundError" in (checkpoint.find_damage(saved) or "")


def test_a_manifest_that_lacks_a_file_is_damage(saved):
    reseal(saved)
    (saved / "manifest.json").write_text("{}")
    mark = hashlib.sha256(b"{}").hexdigest()
    (saved / "complete").write_text(f"{mark}\n")
    assert "KeyError" in (checkpoint.find_damage(saved) or "")


@pytest.mark.parametrize("change", ["missing", "shape", "unknown", "integers"])
@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors"])
def test_tensors_of_another_model_are_refused(saved, file, change):
    tensors = load_file(saved / file)
    name = next(iter(tensors))
    if change == "missing":
        del tensors[name]
    elif change == "unknown":
        tensors["more"] = torch.zeros(1)
    else:
        other = tensors[name].flatten()[:1] if change == "shape" else tensors[name].int()
        tensors[name] = other.clone()
    save_file(tensors, saved / file)
    engine = tiny_engine(seed=1)
    before = [parameter.clone() for parameter in engine.model.parameters()]
    with pytest.raises(InputError, match=f"{file}: .*belongs to another model"):
        checkpoint.restore(saved, engine, STATE)
    assert all(map(torch.equal, before, engine.model.parameters())), "nothing was restored"


def test_the_newest_whole_one_is_found_and_names_are_strict(tmp_path, console):
    writer = Writer(tmp_path, CheckpointConfig(keep=9, asynchronous=False))
    for step in (1, 2, 30):
        writer.save(tiny_engine(), replace(STATE, step=step, skipped_steps=0))
    for name in ("step-3", "step-000000031", ".step-00000040.new", "best", "step-0000004x"):
        (tmp_path / name).mkdir()
    assert [step_of(p) for p in list_checkpoints(tmp_path)] == [1, 2, 30]
    (tmp_path / "step-00000030" / "complete").unlink()
    newest = checkpoint.find_last(tmp_path)
    assert newest is not None and newest.name == "step-00000002"
    assert "step-00000030 is damaged" in console.readouterr().err
    assert checkpoint.find_last(tmp_path, up_to_step=1) == tmp_path / "step-00000001"
    assert checkpoint.find_last(tmp_path, up_to_step=0) is None
    assert checkpoint.find_last(tmp_path / "nowhere") is None


def test_where_all_are_damaged_nothing_begins_anew(tmp_path):
    (tmp_path / "step-00000001").mkdir()
    with pytest.raises(InputError, match="every checkpoint is damaged"):
        checkpoint.find_last(tmp_path)


def test_a_field_that_is_younger_than_the_checkpoint_had_its_default(saved):
    young = {"optimizer.momentum": "0.95", "schedule.decay": "linear", "engine.residual": "fp32"}
    assert checkpoint_state.read_state(saved, STATE.fingerprints | young) == STATE
    with pytest.raises(
        InputError, match=r"optimizer\.momentum=0\.95, the configuration makes 0\.9"
    ):
        checkpoint_state.read_state(saved, {"optimizer.momentum": "0.9"})


def test_phases_compare_by_what_is_set_in_them(tmp_path):
    before = "[{'from_steps': 5, 'learning_rate': None, 'warmup_fraction': 0.0}]"
    state = replace(STATE, fingerprints={"phases": before})
    Writer(tmp_path, CheckpointConfig()).save(tiny_engine(), state)
    path = tmp_path / "step-00000007"
    more = before.replace("}", ", 'younger': None}")
    assert checkpoint_state.read_state(path, {"phases": more}) == state
    for other in (before.replace("5", "6"), "[]", more.replace("'younger': None", "'younger': 1")):
        with pytest.raises(InputError, match="phases="):
            checkpoint_state.read_state(path, {"phases": other})


def test_each_parameter_has_the_moments_of_its_own_update_rule(tmp_path):
    own, other = tiny_engine(), tiny_engine(seed=1)
    for engine in (own, other):
        matrix = engine.model[0].weight
        engine.moments_of = lambda p, matrix=matrix: ("momentum",) if p is matrix else MOMENTS
    own.set_moment(own.model[0].weight, "momentum", torch.ones(2, 3))
    Writer(tmp_path, CheckpointConfig()).save(own, STATE)
    path = tmp_path / "step-00000007"
    names = set(load_file(path / "optimizer.safetensors"))
    assert {name for name in names if name.startswith("0.weight")} == {"0.weight.momentum"}
    checkpoint.restore(path, other, STATE)
    assert torch.equal(other.full_moment(other.model[0].weight, "momentum"), torch.ones(2, 3))
    with pytest.raises(InputError, match=r"0\.weight\.exp_avg is missing"):
        checkpoint.restore(path, tiny_engine(), STATE)


@pytest.mark.parametrize(("old", "unit"), [("True", "word"), ("False", "token")])
def test_masks_of_whole_words_are_a_unit_in_checkpoints_of_before(saved, old, unit):
    content = json.loads((saved / "state.json").read_text())
    content["fingerprints"]["masking.whole_word"] = old
    (saved / "state.json").write_text(json.dumps(content))
    assert checkpoint_state.read_state(saved, {"masking.unit": unit}).step == STATE.step
    with pytest.raises(InputError, match=f"was made with masking.unit={unit}"):
        checkpoint_state.read_state(saved, {"masking.unit": "span"})
