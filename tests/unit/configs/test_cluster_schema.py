"""Cluster profiles: every shipped one, and what the schema refuses."""

from __future__ import annotations

import pytest

from configs.cluster_schema import ClusterConfig, ContainerConfig, PreparationConfig
from configs.errors import InputError
from configs.loader import dump_config, load_config, shipped_configs

BROKEN = [
    (ClusterConfig, {"nodes": 0}, "nodes=0"),
    (ClusterConfig, {"tasks_per_node": 0}, "tasks_per_node=0"),
    (ClusterConfig, {"gpus_per_node": -1}, "gpus_per_node=-1"),
    (ClusterConfig, {"cpus_per_task": 0}, "cpus_per_task=0"),
    (ClusterConfig, {"max_restarts": -1}, "max_restarts=-1"),
    (ClusterConfig, {"array_limit": 0}, "array_limit=0"),
    (ClusterConfig, {"partition": "gpu\n#SBATCH --nodes=99"}, "partition="),
    (ClusterConfig, {"account": "my project"}, "account="),
    (ClusterConfig, {"qos": ""}, "qos="),
    (ClusterConfig, {"memory": "much"}, "memory=much.*64G"),
    (ClusterConfig, {"minutes": 10}, "signal_lead_seconds=600.*minutes=10"),
    (ClusterConfig, {"signal_lead_seconds": 0}, "signal_lead_seconds=0"),
    (ClusterConfig, {"sbatch_options": ["-C h100"]}, "sbatch_options: '-C h100'"),
    (ClusterConfig, {"sbatch_options": ["--comment=a\nrm"]}, "sbatch_options"),
    (ClusterConfig, {"sbatch_options": ["--output=x"]}, "sbatch_options: --output=x"),
    *(
        (ClusterConfig, {"sbatch_options": [option]}, "sbatch_options: '?--")
        for option in (
            *("--constraint=a --wrap=id", "--constraint=a' --wrap=id", '--comment="a"', "--x=a\\"),
            *("--comment=a#b", "--comment=a\x1b[2J", "--comment=a\u202eb", "--comment=", "--x\ty"),
            *("--wrap=id", "--wra=id", "--w=id", "--job-na=x", "--arr=1-9", "--no", "--e"),
            *("--export=NONE", "--export-f=x", "--get-user-env", "--uid=0", "--cont=x", "--clus=x"),
            *("--error=x", "--wait", "--help", "--no-kill", "--gpus-=2", "--par"),
        )
    ),
    (ClusterConfig, {"sbatch_options": ["--no-requeue"]}, "sbatch_options: --no-requeue"),
    (ClusterConfig, {"partition": "gpu'--wrap=id"}, "partition="),
    (ClusterConfig, {"account": "a\u2028b"}, "account="),
    (ClusterConfig, {"memory": "\u0664G"}, "memory="),
    (ClusterConfig, {"python": "--task-prolog=/tmp/x"}, "python="),
    (ClusterConfig, {"python": "a\nb"}, r"python=a\\nb holds \\n"),
    (ClusterConfig, {"site_environment": "a\x00b"}, "site_environment="),
    (ContainerConfig, {"image": "-x"}, "container.image"),
    (ContainerConfig, {"mounts": ["/a:/a\u202e"]}, "container.mounts"),
    (ContainerConfig, {"image": "a b"}, "container.image"),
    (ContainerConfig, {"mounts": ["/a:/a,/b:/b"]}, "container.mounts"),
    (PreparationConfig, {"shards": 0}, "prepare.shards=0"),
    (PreparationConfig, {"cpus": 0}, "prepare.cpus=0"),
    (PreparationConfig, {"minutes": 0}, "prepare.minutes=0"),
    (PreparationConfig, {"memory": "32 GB"}, "prepare.memory"),
]


@pytest.mark.parametrize("schema, values, message", BROKEN)
def test_what_is_refused(schema, values, message):
    with pytest.raises(InputError, match=message) as error:
        schema(**values)
    assert "\n" not in str(error.value)


def test_options_of_a_site_that_are_none_of_ours():
    options = [
        "--gpus=8",
        "--exclusive",
        "--nodelist=n[1-4]",
        "--constraint=[a&b|c*2]",
        "--time-min=9",
    ]
    assert ClusterConfig(sbatch_options=options).sbatch_options == options


@pytest.mark.parametrize("name", shipped_configs("clusters"))
def test_every_shipped_profile_loads_and_dumps_to_the_same(name, tmp_path):
    profile = load_config(ClusterConfig, name)
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(profile), encoding="utf-8")
    assert load_config(ClusterConfig, str(copy)) == profile


def test_a_missing_profile_names_its_option_and_a_close_one():
    with pytest.raises(InputError, match=r"--cluster exmple-h100: .* did you mean example-h100"):
        load_config(ClusterConfig, "exmple-h100")


def test_one_rank_for_each_gpu_unless_told():
    assert ClusterConfig(gpus_per_node=8).ranks_per_node == 8
    assert ClusterConfig(gpus_per_node=0).ranks_per_node == 1
    assert ClusterConfig(gpus_per_node=0, tasks_per_node=4).ranks_per_node == 4


def test_preparation_asks_for_no_gpu_and_for_its_own_partition():
    profile = ClusterConfig(
        partition="gpu", nodes=4, gpus_per_node=8, prepare=PreparationConfig(partition="cpu")
    )
    part = profile.for_preparation()
    assert (part.partition, part.nodes, part.gpus_per_node, part.ranks_per_node) == ("cpu", 1, 0, 1)
    assert ClusterConfig(partition="gpu").for_preparation().partition == "gpu"


def test_a_short_preparation_is_told_in_time():
    part = ClusterConfig(prepare=PreparationConfig(minutes=2)).for_preparation()
    assert part.signal_lead_seconds == 60
