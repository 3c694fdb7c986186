"""What the environment gives is stored as it was asked for, and secrets are shown nowhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import InputError
from configs.loader import dump_config, load_config, load_run_config
from configs.schema import PretrainConfig
from configs.system import secrets

TEXT = """
base: roberta_small.yaml
seed: ${oc.decode:${oc.env:RUN_SEED}}
run_dir: ${oc.env:RUN_FOLDER}/small
data: {sources: [{kind: text, path: "x/${oc.env:SESAME}", column: "${oc.env:NONE,plain}"}]}
"""
SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setattr(secrets, "_asked_for", {})
    monkeypatch.setattr(secrets, "_written", {})
    values = {
        "RUN_SEED": "7",
        "RUN_FOLDER": "/scratch/me",
        "SESAME": SECRET,
        "HF_TOKEN": "hf_abc_1",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    secrets._known.cache_clear()
    yield
    secrets._known.cache_clear()


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "config.yaml").write_text(TEXT)
    return tmp_path / "config.yaml"


def test_a_configuration_is_stored_as_it_asks(path):
    config = load_config(PretrainConfig, str(path))
    assert (config.seed, config.run_dir) == (7, "/scratch/me/small")
    stored = dump_config(config)
    assert SECRET not in stored and "seed: 7\n" in stored
    assert "run_dir: ${oc.env:RUN_FOLDER}/small" in stored and "column: ${oc.env:NONE,p" in stored
    path.write_text(stored)
    assert load_config(PretrainConfig, str(path)) == config


def test_what_was_changed_since_is_stored_as_it_is(path):
    config = load_config(PretrainConfig, str(path))
    moved = replace(config, seed=8, data=replace(config.data, cache=f"c/{SECRET}"))
    assert "seed: 8\n" in dump_config(moved)
    assert "cache: c/${oc.env:SESAME}\n" in dump_config(moved), "wherever it has come to"


def test_a_run_opens_without_its_variables(path, monkeypatch):
    path.write_text(dump_config(load_config(PretrainConfig, str(path))))
    monkeypatch.delenv("SESAME")
    monkeypatch.delenv("RUN_SEED")
    with pytest.raises(InputError, match="SESAME"):
        load_config(PretrainConfig, str(path))
    assert load_run_config(PretrainConfig, path.parent).data.sources[0].path == "x/${oc.env:SESAME}"


def test_what_is_said_holds_no_secret(path):
    assert secrets.hide(f"{SECRET} hf_abc_1") == f"{SECRET} ${{oc.env:HF_TOKEN}}"
    load_config(PretrainConfig, str(path))
    said = f"no file x/{SECRET} in /scratch/me at seed 7"
    assert secrets.hide(said) == "no file x/${oc.env:SESAME} in /scratch/me at seed 7"
    assert SECRET not in secrets.hashed(said)
    assert secrets.hashed(said) == secrets.hashed(said) != secrets.hashed("no file x/ at seed 7")


def test_a_short_word_is_no_secret_whatever_its_name(monkeypatch):
    """Else the paths of a run would hold variables, and it would open nowhere but here."""
    monkeypatch.setenv("DB_PASSWORD", "root")
    monkeypatch.setenv("AUTH", "text")
    stored = dump_config(load_config(PretrainConfig, "small", ["data.cache=/root/cache"]))
    assert "cache: /root/cache\n" in stored and "column: text\n" in stored
    assert secrets.hide("no such file: /root/text") == "no such file: /root/text"


def test_the_name_of_a_run_is_shown(monkeypatch):
    monkeypatch.setenv("MY_RUN", "experiment-7")
    config = load_config(PretrainConfig, "small", ["run_dir=runs/${oc.env:MY_RUN}"])
    assert config.run_dir == "runs/experiment-7"
    assert secrets.hide("curves runs/experiment-7/plots") == "curves runs/experiment-7/plots"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://me:pw@host/a for it", "see https://***@host/a for it"),
        ("no file https:/me:pw@host/a", "no file https:/***@host/a"),
        ("https://host/a?x=1&api_token=abc&y=2#z", "https://host/a?x=1&api_token=***&y=2#z"),
        ("override 'hub_token=abc'", "override 'hub_token=***'"),
        ("data.password=abc seed=1", "data.password=*** seed=1"),
        ("unk_token=[UNK] tokenizer.kind=x", "unk_token=[UNK] tokenizer.kind=x"),
        ("mail me@host.org, https://host/@me", "mail me@host.org, https://host/@me"),
    ],
)
def test_credentials_are_masked(text, shown):
    assert secrets.hide(text) == shown


@pytest.mark.parametrize("address", ["https://me:tiger@host/x", "https://host/x?token=tiger"])
def test_a_credential_in_an_address_is_refused(address):
    with pytest.raises(InputError, match=r"data.cache=.*\*\*\*.*oc\.env:NAME") as error:
        load_config(PretrainConfig, "small", [f"data.cache='{address}'"])
    assert "tiger" not in str(error.value)


def test_an_error_about_a_secret_does_not_tell_it(monkeypatch):
    with pytest.raises(InputError) as error:
        load_config(PretrainConfig, "small", ["seed=${oc.env:SESAME}"])
    assert SECRET not in secrets.hide(str(error.value))


def test_hidden_characters_load_back(path):
    config = load_config(PretrainConfig, "small", ["run_dir=a"])
    (source,) = config.data.sources
    odd = replace(source, column="a\x1b\u202e\u2028b 한😀 1e-5")
    config = replace(config, data=replace(config.data, sources=[odd]))
    path.write_text(dump_config(config))
    assert path.read_text().isascii() and "\x1b" not in path.read_text()
    assert load_config(PretrainConfig, str(path)) == config
