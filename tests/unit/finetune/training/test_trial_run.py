"""What is left of trials when a run is done."""

from __future__ import annotations

from configs.finetune_schema import FinetuneConfig
from configs.system.run_folder import RunFolder
from finetune.training.trial_run import drop_strays
from finetune.training.trials import make_trials


def test_checkpoints_of_trials_that_left_the_list_go_and_nothing_else(tmp_path, caplog):
    for name in ("seed=0", "seed=7", "lr=1_seed=0"):
        trial = RunFolder(tmp_path).trial(name)
        (trial.checkpoints / "step-00000010").mkdir(parents=True)
        trial.metrics.write_text("")
    (tmp_path / "trials/done").mkdir()
    drop_strays(tmp_path, make_trials(FinetuneConfig(run_dir=str(tmp_path), seeds=[0])))
    left = sorted(str(path.relative_to(tmp_path / "trials")) for path in tmp_path.rglob("*"))
    assert [path for path in left if "checkpoints/" in path] == ["seed=0/checkpoints/step-00000010"]
    assert (tmp_path / "trials/seed=7/metrics.jsonl").is_file()
    assert [message.partition(" is no trial")[0] for message in caplog.messages] == [
        str(tmp_path / "trials/lr=1_seed=0"),
        str(tmp_path / "trials/seed=7"),
    ]
