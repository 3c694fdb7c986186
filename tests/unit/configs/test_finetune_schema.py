"""Every shipped fine-tuning configuration, and what the schema refuses."""

from __future__ import annotations

import pytest

from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import dump_config, load_config, shipped_configs
from configs.task_schema import PRESETS, STEPS

FINETUNING = [name for name in shipped_configs() if name.startswith("finetune/")]
TASKS = [name for name in FINETUNING if name not in ("finetune/common.yaml", "finetune/grid.yaml")]


@pytest.mark.parametrize("name", FINETUNING)
def test_every_shipped_config_loads_and_dumps_to_the_same(name, tmp_path):
    config = load_config(FinetuneConfig, name)
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(config), encoding="utf-8")
    assert load_config(FinetuneConfig, str(copy), [f"run_dir={config.run_dir}"]) == config


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_its_name_and_its_files(name):
    config = load_config(FinetuneConfig, name)
    assert config.task.name == name.removeprefix("finetune/").removesuffix(".yaml").removesuffix(
        "_base"
    )
    assert config.task.folder.startswith("data/")
    assert config.schedule.warmup_fraction > 0


def test_the_grid_is_that_of_the_bert_paper():
    grid = load_config(FinetuneConfig, "finetune/grid").grid
    assert grid["batch.sequences"] == [16, 32]
    assert grid["optimizer.learning_rate"] == [2e-5, 3e-5, 5e-5]
    assert grid["schedule.max_epochs"] == [2, 3, 4]


def test_presets_are_made_of_steps():
    for steps in PRESETS.values():
        assert set(steps) <= set(STEPS)


REFUSED = {
    "step": (["task.preprocess.steps=[lower]"], "no step is called"),
    "dev share": (["task.dev_fraction=0.5"], "task.dev_fraction"),
    "encoding": (["task.encoding=utf-9"], "task.encoding=utf-9 is no encoding of text"),
    "a codec of bytes": (["task.encoding=base64"], "task.encoding=base64 is no encoding of text"),
    "share of bad rows": (["task.most_bad_rows=1.5"], "task.most_bad_rows=1.5 is no fraction"),
    "columns twice": (["task.columns=[a, b, a]"], r"task.columns names \['a'\] twice"),
    "merge": (["task.labels=[a, b]", "task.merge={c: d}"], "task.merge: c becomes d"),
    "unmerged": (["task.unmerged=fine"], "task.unmerged needs task.merge"),
    "merge chain": (["task.merge={a: b, b: c}"], "a becomes b, which becomes c: write a: c"),
    "labels twice": (["task.labels=[a, b, a]"], r"task.labels: \['a'\] occurs twice"),
    "label with a space": (["task.labels=[a, 'b ']"], r"task.labels: \['b '\] has spaces around"),
    "merge with a space": (["task.merge={' a': b}"], r"task.merge: \[' a'\] has spaces around"),
    "label and none": (["task.labels=['-', b]", "task.no_label=['-']"], "is a label too"),
    "tags without O": (["task.kind=tagging", "task.labels=[B-X]"], "tagging needs the label O"),
    "no seeds": (["seeds=[]"], r"seeds=\[\] must be different"),
    "equal seeds": (["seeds=[1, 1]"], "different numbers"),
    "decay": (["layer_decay=0"], "layer_decay"),
    "patience": (["patience=0"], "patience"),
    "lamb": (["optimizer.name=lamb", "engine.zero_stage=1"], "needs engine.zero_stage=0"),
    "muon": (["optimizer.name=muon", "engine.zero_stage=2"], "needs engine.zero_stage=0"),
    "grid": (["grid={optimizer.learning_rate: []}"], "has no values"),
    "metric": (["task.metric=pearson"], "task.metric=pearson.*accuracy, macro_f1"),
    "span metric": (["task.span_metric=korquad"], "task.span_metric=korquad is for task.kind=span"),
    "smoothing": (["head.label_smoothing=0.1", "head.loss=focal"], "head.label_smoothing"),
    "a further file called as another": (["task.further={dev: x.tsv}"], "'dev' must be of letters"),
    "an answer file of no file": (["task.submission.tests=CoLA"], "'tests' is neither test nor"),
    "an answer file of no task": (["task.submission.test=cola"], "cola is none of GLUE's.*CoLA"),
    "answers of another kind": (["task.kind=span"], "not for task.kind=span"),
    "focal for numbers": (["task.kind=regression", "head.loss=focal"], "head.loss"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    overrides, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        load_config(FinetuneConfig, "finetune/sst2", overrides)


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("task.labels=[yes, no]", r"task\.labels\.0"),
        ("task.merge={bad: no}", r"task\.merge\.bad"),
        ("task.text=on", r"task\.text"),
        ("task.text_pair=true", r"task\.text_pair"),
    ],
)
def test_text_that_yaml_takes_for_a_truth_value_is_refused(override, field, tmp_path):
    message = f"'{field}' is text, but YAML reads .* write it in quotes"
    with pytest.raises(InputError, match=message):
        load_config(FinetuneConfig, "finetune/sst2", [override])
    name, _, value = override.partition("=")
    path = tmp_path / "a.yaml"
    path.write_text(f"task: {{{name.removeprefix('task.')}: {value}}}")
    with pytest.raises(InputError, match=rf"a\.yaml: {message}"):
        load_config(FinetuneConfig, str(path))
    path.write_text("task: {labels: ['yes', \"no\"], merge: {bad: 'no'}}")
    config = load_config(FinetuneConfig, str(path), ["task.text='on'"])
    assert (config.task.labels, config.task.text) == (["yes", "no"], "on")
