"""Runs that begin where others ended: rounds one by one are the rounds of one run."""

import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from bsm_jax import train
from bsm_jax.training import checkpoint, metrics, program


def rounds_of(config: ConfigDict, *names: str) -> ConfigDict:
  """A copy with these rounds only."""
  config = config.copy_and_resolve_references()
  config.rounds = ConfigDict({name: config.rounds[name] for name in names})
  return config


@pytest.fixture
def run_of_both(small_config, tmp_path):
  train.train(small_config, str(tmp_path / "both"))
  return tmp_path / "both"


def test_rounds_as_separate_runs_are_those_of_one_run(small_config, run_of_both, tmp_path):
  train.train(rounds_of(small_config, "a"), str(tmp_path / "a"))
  second = rounds_of(small_config, "b")
  second.init_from = str(tmp_path / "a")
  apart = train.train(second, str(tmp_path / "b")).state
  whole = checkpoint.Checkpointer(run_of_both / "checkpoints").restore(program_state(small_config)).state
  # Programs with other rounds are compiled anew, and round the last bit as they like.
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7)
  for name in ("params", "opt_state"):
    jax.tree.map(close, jax.device_get(apart[name]), jax.device_get(whole[name]))
  losses = lambda folder: [line["loss"] for line in metrics.read_metrics(folder) if line["kind"] == "train"]
  np.testing.assert_allclose(losses(tmp_path / "a") + losses(tmp_path / "b"), losses(run_of_both), rtol=1e-6)
  drawn = lambda folder: checkpoint.Checkpointer(folder / "checkpoints").meta()["rows"]
  assert drawn(tmp_path / "b") == drawn(run_of_both)


def test_a_run_may_start_from_the_end_of_an_earlier_round(small_config, run_of_both, tmp_path):
  second = rounds_of(small_config, "b")
  second.init_from = f"{run_of_both}@a"
  apart = train.train(second, str(tmp_path / "b")).state
  whole = checkpoint.Checkpointer(run_of_both / "checkpoints").restore(program_state(small_config)).state
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(apart["params"]), jax.device_get(whole["params"]))


def test_a_run_that_started_from_another_resumes_from_itself(small_config, run_of_both, tmp_path):
  second = rounds_of(small_config, "b")
  second.init_from = f"{run_of_both}@a"
  whole = train.train(second, str(tmp_path / "whole")).state
  longer = second.rounds.b.tokens
  second.rounds.b.tokens = longer // 2
  # Half of the round, then all of it: refused, as the schedule would be another one.
  train.train(second, str(tmp_path / "half"))
  second.rounds.b.tokens = longer
  with pytest.raises(program.ConfigError, match="rounds.b.tokens"):
    train.train(second, str(tmp_path / "half"))
  again = train.train(second, str(tmp_path / "whole")).state
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(again["params"]), jax.device_get(whole["params"]))


def program_state(config: ConfigDict) -> dict:
  return program.make_program(config, program.make_mesh(config)).abstract_state


def test_the_ends_of_rounds_are_kept(small_config, tmp_path):
  small_config.checkpoint.every_steps, small_config.checkpoint.keep = 1, 1
  train.train(small_config, str(tmp_path))
  kept = checkpoint.Checkpointer(tmp_path / "checkpoints")
  assert kept.end_of_round("a") == 6 and kept.end_of_round("b") == 10
  assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == [6, 10]
  with pytest.raises(checkpoint.CheckpointError, match=r"no checkpoint of round 'c' in .*there are: 6 \(a\), 10 \(b\)"):
    kept.end_of_round("c")


def test_another_models_run_is_no_beginning(small_config, run_of_both, tmp_path):
  small_config.init_from = str(run_of_both)
  small_config.model.d_ff = 128
  with pytest.raises(program.ConfigError, match=r"run of another model:\n  model.d_ff: 64 in the checkpoint, 128 now"):
    train.train(small_config, str(tmp_path / "b"))


def test_a_beginning_that_is_not_there_is_named(small_config, tmp_path):
  small_config.init_from = str(tmp_path / "nowhere")
  with pytest.raises(checkpoint.CheckpointError, match="no complete checkpoint in .*nowhere"):
    train.train(small_config, str(tmp_path / "b"))


# --- Mixtures from files


def test_a_round_takes_the_mixture_that_a_search_wrote(small_config, tmp_path):
  (tmp_path / "winner.json").write_text(json.dumps({"weights": {"pairs": 3, "single": 1}, "value": 1.5}))
  small_config.rounds.b.weights_file = str(tmp_path / "winner.json")
  read = program.with_mixtures(small_config)
  assert read.rounds.b.weights.to_dict() == {"pairs": 3.0, "single": 1.0}
  assert read.rounds.a.weights == small_config.rounds.a.weights
  assert program.schedule(read).rounds[1].weights == {"pairs": 3.0, "single": 1.0}
  train.train(small_config, str(tmp_path / "run"))
  settings = json.loads((tmp_path / "run/config.json").read_text())
  assert settings["rounds"]["b"]["weights"] == {"pairs": 3.0, "single": 1.0}


@pytest.mark.parametrize("text", [None, "not JSON", "{}", '{"weights": [1]}', '{"weights": {"a": "b"}}'])
def test_a_file_without_a_mixture_is_named(small_config, tmp_path, text):
  path = tmp_path / "winner.json"
  if text is not None:
    path.write_text(text)
  small_config.rounds.b.weights_file = str(path)
  with pytest.raises(program.ConfigError, match=rf"rounds.b.weights_file {path} holds no mixture"):
    program.with_mixtures(small_config)
