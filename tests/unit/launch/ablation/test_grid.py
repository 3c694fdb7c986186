"""From an ablation to its runs: rows, seeds, tuned values, tasks, shared runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.ablation_schema import AblationConfig
from configs.errors import InputError
from configs.loader import load_config, shipped_configs
from launch.ablation.grid import Grid
from launch.ablation.measure import measure_of
from tests.unit.launch.ablation.example_runs import MASKING, find, finish, make_grid

SHIPPED = [name for name in shipped_configs("ablations") if name != "common.yaml"]
TUNE = {"optimizer.learning_rate": [0.001, 0.002]}
SST2 = {"config": "finetune/sst2.yaml"}


def places(grid: Grid) -> list[str]:
    return [str(run.run_dir.relative_to(grid.folder)) for run in grid.runs()]


def test_a_row_for_each_choice_and_a_run_for_each_seed(tmp_path):
    grid = make_grid(tmp_path)
    assert places(grid) == ["static/seed0", "dynamic/seed0", "static/seed1", "dynamic/seed1"]
    run = find(grid, "static", 1)
    assert (run.config.seed, run.config.mask_epochs) == (1, 10)
    assert run.config.schedule.max_steps == 8
    assert grid.baseline == "static"


def test_the_rows_of_two_axes_are_their_product(tmp_path):
    axes = {**MASKING, "rate": {"15": {}, "40": {"masking": {"probability": 0.4}}}}
    grid = make_grid(tmp_path, axes=axes)
    assert list(grid.rows) == ["static, 15", "static, 40", "dynamic, 15", "dynamic, 40"]
    assert grid.rows["static, 40"] == {"mask_epochs": 10, "masking.probability": 0.4}


def test_cumulative_rows_keep_what_came_before(tmp_path):
    choices = {
        "BERT": {"mask_epochs": 10},
        "+ dynamic": {"mask_epochs": None},
        "+ more": {"schedule.max_steps": 16},
        "alone": {"seed": 0, "model": {"layers": 2}},
        "+ longer": {"max_length": 64},
    }
    grid = make_grid(tmp_path, axes={"road": choices}, cumulative=True, apart=["alone"])
    last, alone = find(grid, "+ longer").config, find(grid, "alone").config
    assert (last.mask_epochs, last.schedule.max_steps, last.max_length) == (None, 16, 64)
    assert (last.model.layers, alone.model.layers) == (4, 2)
    assert (alone.schedule.max_steps, alone.max_length) == (8, 128)


def test_a_choice_may_begin_with_another_recipe(tmp_path):
    axes = {"model": {"RoBERTa": {}, "BERT": {"recipe": "bert_small.yaml", "max_length": 64}}}
    config = find(make_grid(tmp_path, axes=axes), "BERT").config
    assert (config.model.architecture, config.max_length) == ("bert", 64)
    assert config.schedule.max_steps == 8


def test_a_scale_beats_the_ablation_and_seeds_the_scale(tmp_path):
    scales = {"tiny": {"fields": {"schedule": {"max_steps": 4}}, "seeds": [5]}}
    grid = make_grid(tmp_path, scales=scales)
    assert {run.seed for run in grid.runs()} == {5}
    assert find(grid, "static", 5).config.schedule.max_steps == 4
    config = grid.config.at(seeds=3)
    assert config.seeds == [0, 1, 2]


def test_other_seeds_wait_for_every_value_on_the_first(tmp_path):
    grid = make_grid(tmp_path, tune=TUNE)
    slow, fast = grid.candidates("static")
    assert slow.run_dir == grid.folder / "static" / "learning_rate=0.001" / "seed0"
    assert find(grid, "static", 1).after == (slow.run_dir, fast.run_dir)
    assert find(grid, "static", 1) not in grid.ready_runs()
    finish(slow, 90.0)
    assert not grid.is_settled("static") and not grid.table_runs()
    finish(fast, 80.0)
    chosen = find(grid, "static", 1)
    assert (chosen.tuned_value, chosen.config.optimizer.learning_rate) == (0.002, 0.002)
    assert chosen.run_dir.parent.name == "learning_rate=0.002"
    assert chosen in grid.ready_runs()
    assert [c.name for c in grid.table_runs()] == ["static, 0.002, seed 0", "static, 0.002, seed 1"]
    assert find(grid, "dynamic", 1) not in grid.ready_runs()


def test_a_task_waits_for_its_encoder(tmp_path):
    grid = make_grid(tmp_path, tasks=[{**SST2, "seeds": [3, 4]}])
    task = find(grid, "static", 1, "sst2")
    encoder = find(grid, "static", 1)
    assert task.run_dir == encoder.run_dir / "tasks" / "sst2"
    assert (task.config.model, task.config.seeds) == (str(encoder.run_dir), [3, 4])
    assert task not in grid.ready_runs()
    finish(encoder)
    assert task in grid.ready_runs()


def test_rows_that_differ_in_fine_tuning_share_their_pretraining(tmp_path):
    axes = {"adapt": {"none": {}, "3": {"finetune.adapt.epochs": 3}}}
    grid = make_grid(tmp_path, axes=axes, tasks=[SST2])
    assert find(grid, "none").run_dir == find(grid, "3").run_dir
    assert find(grid, "3", task="sst2").config.adapt.epochs == 3
    assert len(grid.distinct_runs()) == 2 * (1 + 2)
    finish(find(grid, "none"))
    assert find(grid, "3", task="sst2") in grid.ready_runs()


def test_rivals_are_rows_without_pretraining(tmp_path):
    grid = make_grid(tmp_path, tasks=[SST2], rivals=["tf-idf"])
    rival = find(grid, "tf-idf", task="sst2")
    assert rival.run_dir == grid.folder / "rivals" / "tf-idf" / "sst2"
    assert rival.config.model == "tf-idf" and rival in grid.ready_runs()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_ablation_expands_at_every_scale(name):
    config = load_config(AblationConfig, f"ablations/{name}")
    assert config.run_dir == f"runs/ablations/{Path(name).stem}"
    assert config.title and config.question and "tiny" in config.scales
    rows: set[str] = set()
    for scale in config.scales:
        grid = Grid(config.at(scale))
        assert len(grid.rows) >= 2 and grid.baseline in grid.rows
        rows |= set(grid.rows)
        recipes = [grid.chosen_recipe(row) for row in grid.rows]
        measures = {tuple(measure_of(recipe).items()) for recipe in recipes}
        assert len(measures) == 1, "rows need one evaluation.input_format, max_length, ..."
    assert set(config.reference) <= rows


def test_the_base_of_all_is_no_ablation():
    with pytest.raises(InputError, match="axes is empty"):
        load_config(AblationConfig, "ablations/common.yaml").at()


BAD = {
    "field": ({"axes": {"a": {"x": {"modle.layers": 2}}}}, r"row 'x': .*did you mean 'model'"),
    "value": ({"axes": {"a": {"x": {"max_length": 4}}}}, "row 'x': .*max_length=4"),
    "no choices": ({"axes": {"a": {}}}, "axes.a has no choices"),
    "folders": ({"axes": {"a": {"x y": {}, "x-y": {}}}}, "folder 'x-y': rename"),
    "baseline": ({"baseline": "none"}, "baseline=none is no row: choose from static, dynamic"),
    "two axes": ({"axes": {**MASKING, "b": {"x": {}}}, "cumulative": True}, "single axis"),
    "apart": ({"cumulative": True, "apart": ["x"]}, "no choice is called x"),
    "apart alone": ({"apart": ["static"]}, "cumulative=true"),
    "two tuned": ({"tune": {"seed": [1], "max_length": [8]}}, "name one field"),
    "lists": ({"tune": {"phases": [[]]}}, "numbers or words"),
    "metric": ({"metrics": ["loss"]}, "no run has loss: choose from mlm_loss"),
    "nothing": ({"metrics": []}, "both empty"),
    "rivals": ({"rivals": ["tf-idf"]}, "rivals need tasks"),
    "seeds": ({"seeds": [1, 1]}, "must be different"),
    "scale": ({"scale": "huge"}, "scale=huge is none of this ablation's: choose from tiny"),
    "task": ({"tasks": [{"config": "finetune/sst3"}]}, "did you mean .*sst2"),
    "tasks": ({"tasks": [SST2, SST2]}, "folder 'sst2': rename"),
    "no task": ({"tasks": [{}]}, "config is missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_ablations_end_in_one_line(tmp_path, case):
    fields, message = BAD[case]
    with pytest.raises(InputError, match=message) as error:
        make_grid(tmp_path, **fields)
    assert "\n" not in str(error.value)


def test_a_scale_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="--scale paper: this ablation has tiny"):
        make_grid(tmp_path).config.at("paper")


def test_a_row_whose_name_is_no_folder_s_is_refused(tmp_path):
    with pytest.raises(InputError, match="no letter or digit"):
        make_grid(tmp_path, axes={"x": {"..": {}, "dynamic": {}}})


def tuned(tmp_path, **fields) -> Grid:
    """A grid whose rows each try three rates."""
    tune = {"optimizer.learning_rate": [0.001, 0.002, 0.004]}
    return make_grid(tmp_path, axes={"x": {"static": {}}}, tune=tune, **fields)


def score(grid: Grid, losses: dict[float, float]) -> None:
    """Finish those candidates whose loss is named."""
    for run in grid.candidates("static"):
        if run.tuned_value in losses:
            finish(run, losses[run.tuned_value])


def test_a_best_value_at_the_edge_names_the_list_to_extend(tmp_path):
    grid = tuned(tmp_path)
    assert not grid.beyond("static")
    score(grid, {0.001: 3.0, 0.002: 2.0, 0.004: 1.0})
    assert grid.is_settled("static")
    assert "0.004, the largest that was tried" in grid.beyond("static")
    assert "extend tune.optimizer.learning_rate, or set tune_edge=grow" in grid.beyond("static")
    score(grid, {0.001: 3.0, 0.002: 1.0, 0.004: 2.0})
    assert not grid.beyond("static")
    score(grid, {0.001: 1.0, 0.002: 2.0, 0.004: 3.0})
    assert "the least" in grid.beyond("static")


def test_a_list_grows_until_its_best_value_lies_inside(tmp_path):
    grid = tuned(tmp_path, tune_edge="grow", tune_growth=1)
    score(grid, {0.001: 4.0, 0.002: 3.0, 0.004: 2.0})
    values = [run.tuned_value for run in grid.candidates("static")]
    assert values == [0.001, 0.002, 0.004, 0.008]
    added = grid.candidates("static")[-1]
    assert not grid.is_settled("static") and added in grid.ready_runs()
    assert find(grid, "static", 1).after[-1] == added.run_dir
    score(grid, {0.008: 2.5})
    assert grid.is_settled("static") and grid.tuned_value("static") == 0.004
    assert not grid.beyond("static")
    score(grid, {0.008: 1.0})
    assert grid.is_settled("static") and "or raise tune_growth" in grid.beyond("static")
