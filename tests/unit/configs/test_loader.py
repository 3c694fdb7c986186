"""Defaults <- `base:` <- YAML <- command line, and one clear line for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.ablation_schema import AblationConfig
from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import dump_config, find_config, flat, load_config, shipped_configs
from configs.schema import PretrainConfig

OTHERS = ("ablations/", "finetune/", "clusters/")
PRETRAINING = [name for name in shipped_configs() if not name.startswith(OTHERS)]


@pytest.fixture
def write(tmp_path):
    """A function that writes a YAML file and returns its path."""

    def make(text: str, name: str = "mine.yaml") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return make


def load(name: str, *overrides: str) -> PretrainConfig:
    return load_config(PretrainConfig, name, list(overrides))


@pytest.mark.parametrize("name", PRETRAINING)
def test_every_shipped_config_loads(name):
    text = ["data.sources.0.path=ko.jsonl"] if name == "kobert_small.yaml" else []
    config = load(name, *text)
    assert config.run_dir == f"runs/{Path(name).stem}"
    assert config.model.hidden_size % config.model.heads == 0


def test_a_config_that_needs_a_path_says_so():
    with pytest.raises(InputError, match=r"data\.sources\.0\.path="):
        load("kobert_small")


@pytest.mark.parametrize("name", PRETRAINING)
def test_a_dumped_config_loads_back_equal(name, write):
    config = load(name, "data.sources.0={kind: text, path: a.txt}", "seed=7", "mask_epochs=20")
    assert load(write(dump_config(config))) == config


def test_defaults_alone(write):
    assert load(write("{}")) == PretrainConfig(run_dir="runs/mine")


@pytest.mark.parametrize("text", ["", "# later", "null", "---"])
def test_a_file_that_says_nothing_is_refused(write, text):
    with pytest.raises(InputError, match="is empty: write"):
        load(write(text))


def test_names_are_found_from_anywhere(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    assert load("bert_small") == load("bert_small.yaml")
    write("seed: 5", "bert_small.yaml")
    assert load("bert_small.yaml").seed == 5


def test_each_layer_beats_the_one_below(write):
    write("seed: 1\nmax_length: 64\nlog_every_steps: 3", "top.yaml")
    write("base: top.yaml\nseed: 2\nmodel: {layers: 2}", "middle.yaml")
    config = load(write("base: middle.yaml\nmodel: {heads: 2}"), "model.heads=8", "model.heads=1")
    assert (config.log_every_steps, config.max_length, config.seed) == (3, 64, 2)
    assert (config.model.layers, config.model.heads) == (2, 1)
    assert config.model.hidden_size == PretrainConfig().model.hidden_size


STEPS = "scales.s.fields.schedule.max_steps"
BASE = "scales: {s: {fields: {schedule: {max_steps: 5}, seed: 1}}}\naxes: {a: {b.c: {x.y: 1}}}"


@pytest.mark.parametrize(
    ("above", "overrides"),
    [
        ("scales: {s: {fields: {schedule.max_steps: 7}}}", []),
        ("scales: {s: {fields: {schedule: {max_steps: 7}}}}", []),
        (
            "scales: {s: {fields: {schedule.max_steps: 6}}}",
            [f"{STEPS}=7"],
        ),
        ("seeds: [0]", [f"{STEPS}=7"]),
        ("seeds: [0]", ["scales.s.fields={schedule: {max_steps: 7}}"]),
        ("seeds: [0]", ["scales.s.fields={schedule.max_steps: 7}"]),
    ],
)
def test_open_fields_are_one_however_they_are_written(write, above, overrides):
    write(BASE, "dots.yaml")
    write(f"base: dots.yaml\n{above}", "middle.yaml")
    path = write("base: middle.yaml\ntitle: top")
    config = load_config(AblationConfig, path, ["scale=s", *overrides])
    assert flat(config.scales["s"].fields) == {"schedule.max_steps": 7, "seed": 1}
    assert config.axes == {"a": {"b.c": {"x.y": 1}}}, "names of choices are no fields"


def test_a_base_may_be_a_shipped_config(write):
    config = load(write("base: roberta_base\nseed: 9"))
    assert (config.model.layers, config.seed) == (12, 9)


def test_a_list_replaces_the_inherited_one(write):
    write("data: {sources: [{kind: text, path: a}, {kind: text, path: b}]}", "top.yaml")
    path = write("base: top.yaml\ndata: {sources: [{kind: csv, path: c}]}")
    assert [source.path for source in load(path).data.sources] == ["c"]


def test_an_empty_mapping_empties_and_an_empty_section_does_not(write):
    write("base: finetune/common.yaml\ntask: {merge: {a: b, c: d}}\n", "base.yaml")
    kept = write("base: base.yaml\ntask: {}\nseeds: [7]\n", "kept.yaml")
    emptied = write("base: base.yaml\ntask: {merge: {}}\n", "emptied.yaml")
    more = write("base: base.yaml\ntask: {merge: {e: f}}\n", "more.yaml")

    def merge(path, *overrides):
        return load_config(FinetuneConfig, str(path), list(overrides)).task.merge

    assert merge(kept) == {"a": "b", "c": "d"}
    assert merge(emptied) == {}
    assert merge(more) == {"a": "b", "c": "d", "e": "f"}
    assert merge(kept, "task.merge={}") == {}
    assert merge(kept, "task.merge={}", "task.merge.x=y") == {"x": "y"}
    assert merge(kept, "task={}") == {"a": "b", "c": "d"}
    assert merge(kept, "task={merge: {}}") == {}


def test_overrides_reach_into_lists_and_defaults():
    sources = load("roberta_small", "data.sources.0={kind: text, path: x.txt}").data.sources
    assert (sources[0].kind, sources[0].path) == ("text", "x.txt")
    config = load("roberta_small", "data.sources.0.kind=csv", "data.sources.0.path=x.csv")
    assert (config.data.sources[0].kind, config.data.sources[0].column) == ("csv", "text")


def test_overrides_are_read_as_yaml():
    config = load(
        "bert_small", "mask_epochs=null", "optimizer.learning_rate=1e-4", "run_dir=runs/a=b"
    )
    assert (config.mask_epochs, config.optimizer.learning_rate) == (None, 1e-4)
    assert config.run_dir == "runs/a=b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: mine.yaml", "is circular"),
        ("base: nowhere.yaml", "nowhere.yaml: no such file"),
        ("base: 3", "no name of a configuration"),
        ("base: [a]", "no name of a configuration"),
        ("base: ${x}", "no such file"),
        ("a: [", "not readable as YAML"),
        ("seed: 1\nseed: 2", "duplicate key"),
        ("\x00", "not readable as YAML"),
        ("[1, 2]", "is a mapping"),
        ("just text", "unknown key 'just text'"),
        ("null: 3", "not readable"),
        ("modle: {layers: 4}", "unknown key 'modle'; did you mean 'model'"),
        ("model: {layer: 4}", "unknown key 'model.layer'; did you mean 'layers'"),
        ("data: {sources: [{pth: a}]}", r"'data.sources.0.pth'; did you mean 'path'"),
        ("model: 3", "'model' must be a mapping"),
        ("model: null", "'model' must be a mapping"),
        ("batch: [1]", "'batch' must be a mapping"),
        ("data: {sources: {kind: text}}", "'data.sources' must be a list"),
        ("data: {sources: [5]}", "'data.sources.0' must be a mapping"),
        ("seed: [1]", "seed: .*Integer"),
        ("model: {layers: four}", "model.layers: .*'four'.*Integer"),
        ("model: {layers: 4.5}", "model.layers: .*4.5"),
        ("model: {dropout: yes}", "model.dropout: .*Float"),
        ("max_length: null", "max_length: "),
        ("input_format: sentences", "input_format: .*expected one of .*full-sentences"),
        ("seed: ${nope}", "seed: .*nope"),
        ("model: ${model}", "model: .*[Rr]ecursive"),
        ("data: ${oc.env:NO_SUCH_VARIABLE}", "data: .*NO_SUCH_VARIABLE"),
        ("seed: !!python/object:os.system x", "not readable as YAML"),
        ("masking: {probability: .nan}", "masking.probability=nan"),
        ("seed: -1", "seed=-1"),
    ],
)
def test_bad_files_end_in_one_line(write, text, message):
    with pytest.raises(InputError, match=message) as error:
        load(write(text))
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "bytes.yaml"
    path.write_bytes(b"\xff\xfe\x00seed: 1")
    with pytest.raises(InputError, match="not readable as YAML") as error:
        load(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("", "no override"),
        ("seed", "'seed' is no override: write key=value"),
        ("=3", "no override"),
        ("sed=3", "unknown key 'sed'; did you mean 'seed'"),
        ("optimizer.learning_rat=1", "'optimizer.learning_rat'; did you mean 'learning_rate'"),
        ("base=bert_small.yaml", "unknown key 'base'"),
        ("seed=", "seed: "),
        ("seed=one", "seed: .*'one'"),
        ("seed=[", "does not fit"),
        ("seed='", "does not fit"),
        ("seed=*x", "does not fit"),
        ("seed=${x}", "does not fit"),
        ("model=3", "'model' must be a mapping"),
        ("model.layers.x=3", "model.layers"),
        ("model={layer: 3}", "unknown key 'model.layer'"),
        ("data.sources.5.kind=text", "does not fit"),
        ("data.sources.x.kind=text", "does not fit"),
        ("data.sources.0=3", "'data.sources.0' must be a mapping"),
        ("data.sources=[]", "data.sources is empty"),
        ("schedule.max_epochs=3", "not max_steps, max_epochs"),
        ("max_length=1024", "model.max_positions=512"),
    ],
)
def test_bad_overrides_end_in_one_line(override, message):
    with pytest.raises(InputError, match=message) as error:
        load("roberta_small", override)
    assert "\n" not in str(error.value)


def test_a_longer_circle(write):
    write("base: b.yaml", "a.yaml")
    write("base: a.yaml", "b.yaml")
    with pytest.raises(InputError, match="is circular"):
        load(write("base: a.yaml"))


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(InputError, match=r"did you mean roberta_small\.yaml"):
        find_config("roberta-smal.yaml")
    with pytest.raises(InputError, match=r"shipped: .*bert_base\.yaml"):
        find_config("xyzzy")


def test_values_beat_the_file_and_are_beaten_by_overrides():
    values = {"seed": 1, "model": {"layers": 2}, "model.heads": 2, "data.sources.0.weight": 0.5}
    config = load_config(PretrainConfig, "small", ["seed=2"], values=values)
    assert (config.seed, config.model.layers, config.model.heads) == (2, 2, 2)
    assert (config.model.hidden_size, config.data.sources[0].weight) == (256, 0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"modle.layers": 3}, "'modle.layers: 3': unknown key 'modle'; did you mean 'model'"),
        ({"data.sources.7.kind": "text"}, "does not fit"),
        ({"seed": "one"}, "seed: .*'one'"),
    ],
)
def test_bad_values_end_in_one_line(values, message):
    with pytest.raises(InputError, match=message) as error:
        load_config(PretrainConfig, "small", values=values)
    assert "\n" not in str(error.value)


def test_leaves_of_nested_dicts_have_names_with_dots():
    assert flat({"a": {"b": {"c": 1}, "d": [{"e": 2}]}, "f.g": None, "h": {}}) == {
        "a.b.c": 1,
        "a.d": [{"e": 2}],
        "f.g": None,
        "h": {},
    }


def test_a_configuration_whose_name_is_a_reference_is_refused(tmp_path):
    path = tmp_path / "x${y(}.yaml"
    path.write_text("base: roberta_small.yaml\n", encoding="utf-8")
    with pytest.raises(InputError, match="its name"):
        load_config(PretrainConfig, str(path))
