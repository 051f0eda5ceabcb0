import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from bsm_jax import model as model_lib
from bsm_jax import tokenizer, train
from bsm_jax.input import segments
from bsm_jax.training import checkpoint, metrics, program, progress, rounds, step
from configs import bsm_110m, bsm_270m
from tests.bsm_jax.sample_rows import CONTEXT, batch_of_rows, random_documents, write_row_set

MODEL = model_lib.ModelConfig(
    vocab_size=tokenizer.VOCAB_SIZE, n_layers=2, n_heads=2, d_model=32, head_dim=16, d_ff=64, dtype="float32"
)


def batch_of(count: int, seed: int = 0) -> dict[str, np.ndarray]:
  documents = random_documents(np.random.default_rng(seed), count)
  tokens = np.stack([np.pad(d, (0, CONTEXT - len(d))) for d in documents])
  return batch_of_rows(tokens, row_sets=2)


# --- rounds


def two_rounds() -> rounds.Schedule:
  a = rounds.Round("a", tokens=1000, weights={"x": 1.0}, lr_start=1.0, lr_end=0.5, warmup_tokens=200)
  b = rounds.Round("b", tokens=401, weights={"y": 1.0}, lr_start=0.2, lr_end=0.0)
  return rounds.Schedule([a, b], batch_size=10, context=10)


def test_steps_come_from_tokens_and_are_rounded_up():
  plan = two_rounds()
  assert (plan.steps, plan.total_steps) == ([10, 5], 15)
  assert [r.rows for r in plan.rows()] == [100, 50]


def test_each_round_has_its_own_linear_learning_rate():
  rates = [float(two_rounds().learning_rate(s)) for s in range(15)]
  expected = [0.5, 0.95, *(1.0 - 0.05 * s for s in range(2, 10)), *(0.2 - 0.04 * s for s in range(5))]
  np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_the_papers_token_budgets_are_kept():
  for config in (bsm_110m, bsm_270m):
    plan = program.schedule(config.get_config())
    tokens = [n * plan.tokens_per_step for n in plan.steps]
    np.testing.assert_allclose(tokens, [100e9, 156e9, 15.9e9], rtol=1e-4)
    assert float(plan.learning_rate(plan.starts[1])) == pytest.approx(1e-5)
    assert float(plan.learning_rate(plan.starts[2] - 1)) == pytest.approx(1e-7, rel=1e-2)
    assert float(plan.learning_rate(plan.total_steps)) == 0.0


def test_a_round_without_tokens_is_named():
  with pytest.raises(ValueError, match="round 'empty'"):
    rounds.Schedule([rounds.Round("empty", 0, {"x": 1.0}, 1, 0)], batch_size=1, context=1)


# --- the step


def test_the_loss_is_the_cross_entropy_of_what_counts():
  params = model_lib.init_params(MODEL, 0)
  apply = model_lib.make_apply(MODEL)
  tokens = batch_of(3)["tokens"]
  losses, classes = step.token_losses(apply, params, tokens)
  for row, loss, found in zip(np.asarray(tokens), np.asarray(losses), np.asarray(classes)):
    length = int((row != tokenizer.PAD).sum())
    logits = apply(params, row[None], jnp.ones((1, CONTEXT), jnp.int32), jnp.arange(CONTEXT)[None])[0]
    expected = optax.softmax_cross_entropy_with_integer_labels(logits[: length - 1], row[1:length].astype(np.int32))
    np.testing.assert_allclose(loss[: length - 1], expected, rtol=1e-5)
    assert (loss[length - 1 :] == 0).all() and (found[length - 1 :] == -1).all()
    letters = [1 if 8 <= t <= 12 else 3 if 13 <= t < 40 else 0 for t in row[1:length]]
    assert found[: length - 1].tolist() == letters


def make_step(accumulation: int, dtype: str = "float32"):
  optimizer = step.make_optimizer(step.OptimizerConfig())
  apply = model_lib.make_apply(dataclasses.replace(MODEL, dtype=dtype))
  state = step.init_state(model_lib.init_params(MODEL, 0), optimizer)
  train_step = step.make_train_step(apply, optimizer, lambda _: 1e-2, n_row_sets=2, accumulation=accumulation)
  return state, jax.jit(train_step)


@pytest.mark.parametrize("accumulation", [2, 8])
def test_accumulation_does_not_change_the_step(accumulation):
  batch = batch_of(8)
  whole, parts = (train_step(state, batch) for state, train_step in (make_step(1), make_step(accumulation)))
  np.testing.assert_allclose(whole[1]["table"], parts[1]["table"], rtol=1e-5)
  np.testing.assert_allclose(whole[1]["grad_norm"], parts[1]["grad_norm"], rtol=1e-5)
  gradient = lambda result: result[0]["opt_state"][1].mu
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), gradient(whole), gradient(parts))


def test_the_table_tells_row_sets_and_modalities_apart():
  batch = batch_of(6)
  state, train_step = make_step(1)
  table = np.asarray(train_step(state, batch)[1]["table"])
  for row_set in (0, 1):
    rows = np.asarray(batch["tokens"])[np.asarray(batch["row_set"]) == row_set]
    counted = tokenizer.count_by_modality(rows)
    assert table[row_set, 1].tolist()[1:] == [counted["dna"], 0, counted["protein"]]


def test_rows_that_continue_a_sequence_count_as_any_other():
  batch = batch_of(2)
  cut = np.concatenate([np.asarray(batch["tokens"])[:, 20:], np.zeros((2, 20), np.uint8)], axis=1)
  cut[0, :3] = tokenizer.FIRST_NUCLEOTIDE  # Begins inside a sequence, whose tag stands in another row.
  cut[1] = tokenizer.FIRST_AMINO_ACID  # All of it stands inside one.
  state, train_step = make_step(1)
  found = train_step(state, batch | {"tokens": cut})[1]
  losses, classes = step.token_losses(model_lib.make_apply(MODEL), state["params"], cut)
  assert found["table"][:, 1].sum() == segments.next_tokens(cut)[1].sum() == (classes >= 0).sum()
  np.testing.assert_allclose(found["loss"], losses.sum() / (classes >= 0).sum(), rtol=1e-6)
  assert (np.asarray(classes)[1, : CONTEXT - 1] == 0).all()


def test_bf16_and_fp32_training_agree():
  batches = [batch_of(8, seed) for seed in range(20)]
  traces = {}
  for dtype in ("float32", "bfloat16"):
    state, train_step = make_step(1, dtype)
    traces[dtype] = []
    for batch in batches:
      state, found = train_step(state, batch)
      traces[dtype].append(float(found["loss"]))
    assert {x.dtype for x in jax.tree.leaves(state["params"])} == {jnp.dtype("float32")}
  # bf16 keeps 8 bits: over the first steps the losses are within 0.1 %. A fast start then amplifies every difference.
  np.testing.assert_allclose(traces["bfloat16"][:5], traces["float32"][:5], rtol=1e-3)
  np.testing.assert_allclose(traces["bfloat16"], traces["float32"], rtol=6e-2)
  assert traces["float32"][-1] < traces["float32"][0] - 0.5


def test_norms_are_not_decayed_and_everything_else_is():
  mask = step.decay_mask(model_lib.init_params(MODEL, 0))
  decayed = {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in jax.tree.leaves_with_path(mask)}
  assert {name for name, is_decayed in decayed.items() if not is_decayed} == {n for n in decayed if "norm" in n}
  assert sum(decayed.values()) == 1 + 4 * MODEL.n_layers


# --- the run


def run(config, workdir) -> tuple[dict, list[dict]]:
  """Trains; returns the final state, and what `metrics.jsonl` holds, but for starts and times."""
  state = jax.tree.map(np.asarray, train.train(config, str(workdir)).state)
  lines = [line for line in metrics.read_metrics(workdir) if line["kind"] != "start"]
  timed = re.compile("second|mfu|data_wait|goodput")
  return state, [{k: v for k, v in line.items() if not timed.search(k)} for line in lines]


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
  """Function of a config: final state and metrics of the run in one go (made once)."""
  found = []

  def get(config):
    if not found:
      found.append(run(config, tmp_path_factory.mktemp("whole")))
    return found[0]

  return get


def assert_same(got, expected) -> None:
  jax.tree.map(np.testing.assert_array_equal, got[0], expected[0])
  assert got[1] == expected[1]


def test_a_run_goes_through_its_rounds_and_says_so(small_config, uninterrupted):
  state, lines = uninterrupted(small_config)
  assert state["step"] == 10
  assert [(line["step"], line["round"]) for line in lines if line["kind"] == "train"] == [
      (2, "a"), (4, "a"), (6, "a"), (8, "b"), (10, "b"),
  ]
  assert [line["step"] for line in lines if line["kind"] == "valid"] == [0, 5, 6, 10]
  assert {"valid/pairs/dna", "valid/pairs/protein", "valid/pairs/loss"} <= lines[-1].keys()
  assert "train/pairs/protein" not in lines[1] and "train/pairs/protein" in lines[-2]
  assert lines[-1]["valid/pairs/loss"] < lines[0]["valid/pairs/loss"]


# A wish to stop that comes with step 7 goes into the batch of step 8, whose result all hosts read while step 9 runs.
# After step 5 comes an evaluation, which sees the wish at once and is left to the next start.
@pytest.mark.parametrize(("number", "at", "stops_at"), [(signal.SIGINT, 7, 9), (signal.SIGTERM, 5, 5)])
def test_resume_after_a_signal_is_bitwise_identical(
    small_config, uninterrupted, tmp_path, monkeypatch, number, at, stops_at
):
  expected = uninterrupted(small_config)
  original, seen = progress.Clock.count, []

  def signal_at_a_step(self):
    seen.append(1)
    if len(seen) == at:
      signal.raise_signal(number)
    original(self)

  monkeypatch.setattr(progress.Clock, "count", signal_at_a_step)
  stopped, _ = run(small_config, tmp_path)
  assert stopped["step"] == stops_at
  assert_same(run(small_config, tmp_path), expected)


# Runs the config of argv[1] in argv[2] and kills itself: at the n-th step ("step 5"), or when Orbax renames the n-th
# thing of checkpoint 6 ("rename 1" leaves it half committed, the last one leaves all but the final name).
KILLED_RUN = """
import json, os, signal, sys
from ml_collections import ConfigDict
from bsm_jax import train
from bsm_jax.training import progress

config, workdir, what, count = ConfigDict(json.load(open(sys.argv[1]))), sys.argv[2], sys.argv[3], int(sys.argv[4])
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
if what == "step":
  original = progress.Clock.count
  steps = []
  def count_step(self):
    steps.append(1)
    if len(steps) == count: die()
    original(self)
  progress.Clock.count = count_step
else:
  rename = os.rename
  def counted(a, b, **kwargs):
    global count
    if "/checkpoints/6" in str(b):
      count -= 1
      if count == 0: die()
    return rename(a, b, **kwargs)
  os.rename = counted
train.train(config, workdir)
"""


@pytest.mark.parametrize("moment", ["step 5", "rename 1", "rename 4"])
def test_resume_after_kill_9_is_bitwise_identical(small_config, uninterrupted, tmp_path, moment):
  expected = uninterrupted(small_config)
  (tmp_path / "config.json").write_text(small_config.to_json_best_effort())
  command = [sys.executable, "-c", KILLED_RUN, str(tmp_path / "config.json"), str(tmp_path / "run"), *moment.split()]
  # It compiles for itself, as a run on another machine would, and not from what the tests share.
  alone = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
  killed = subprocess.run(command, capture_output=True, text=True, cwd=pathlib.Path(__file__).parents[2], env=alone)
  assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
  saved = [p.name for p in (tmp_path / "run/checkpoints").iterdir()]
  if "rename" in moment:
    assert "3" in saved and "6" not in saved and any(p.startswith("6.") for p in saved)
  assert_same(run(small_config, tmp_path / "run"), expected)


def test_a_finished_run_does_nothing(small_config, tmp_path):
  small_config.rounds.b.tokens = small_config.rounds.a.tokens = 1024
  small_config.rounds.a.warmup_tokens = 0.0
  first = run(small_config, tmp_path)
  assert first[0]["step"] == 4
  assert_same(run(small_config, tmp_path), first)


def test_another_config_in_the_same_folder_is_refused_with_the_difference(small_config, tmp_path):
  small_config.rounds.b.tokens = small_config.rounds.a.tokens = 1024
  small_config.rounds.a.warmup_tokens = 0.0
  run(small_config, tmp_path)
  small_config.rounds.b.lr_start = 0.5
  small_config.model.d_ff = 128
  with pytest.raises(train.ConfigError, match=r"model.d_ff: 64 in the checkpoint, 128 now(.|\n)*rounds.b.lr_start"):
    run(small_config, tmp_path)


def test_rounds_that_have_not_begun_may_change(small_config, tmp_path):
  small_config.rounds.b.tokens = small_config.rounds.a.tokens = 1024
  small_config.rounds.a.warmup_tokens = 0.0
  small_config.data.root = str(shutil.copytree(small_config.data.root, tmp_path / "rows"))
  run(small_config, tmp_path)
  write_row_set(tmp_path / "rows", "late")
  late = {"tokens": 1024, "weights": {"late": 1.0}, "lr_start": 1e-3, "lr_end": 0.0, "warmup_tokens": 0.0}
  small_config.rounds.c = ConfigDict(late)
  state, lines = run(small_config, tmp_path)
  assert state["step"] == 6
  assert [line["round"] for line in lines if line["kind"] == "train"] == ["a", "b", "c"]


def test_a_run_without_rows_says_which_flag_is_missing(small_config, tmp_path):
  small_config.data.root = None
  with pytest.raises(train.ConfigError, match="--config.data.root=DIR"):
    run(small_config, tmp_path)


@pytest.mark.parametrize("name", ["log_every_steps", "eval.every_steps", "checkpoint.every_steps"])
def test_an_interval_of_no_steps_is_refused_before_anything_is_written(small_config, rows_root, tmp_path, name):
  small_config.data.root = str(rows_root)
  small_config.update_from_flattened_dict({name: 0})
  with pytest.raises(train.ConfigError, match=f"{name} 0 is no interval"):
    train.train(small_config, str(tmp_path / "run"))
  assert not (tmp_path / "run").exists()


def test_a_typo_in_an_override_fails(rows_root, tmp_path):
  command = [
      sys.executable, "-m", "bsm_jax.train", "--config=configs/miniature.py", f"--workdir={tmp_path}",
      "--config.model.n_layer=3",
  ]
  result = subprocess.run(command, capture_output=True, text=True, cwd=pathlib.Path(__file__).parents[2])
  assert result.returncode != 0
  assert "n_layer" in result.stderr and "Did you mean" in result.stderr


def test_restoring_from_an_empty_folder_is_named(tmp_path):
  empty = checkpoint.Checkpointer(tmp_path / "none")
  with pytest.raises(checkpoint.CheckpointError, match="no complete checkpoint in"):
    empty.restore({})
  empty.close()


# --- figures of a run


def test_flops_are_counted_by_hand_for_a_tiny_model():
  # One layer, d 4, one head of 2, d_ff 8: qkv 4*6 + out 2*4 + mlp 3*4*8 = 128, tied head 128 * 4 = 512.
  tiny = model_lib.ModelConfig(vocab_size=64, n_layers=1, n_heads=1, d_model=4, head_dim=2, d_ff=8)
  assert metrics.flops_per_token(tiny, 16, causal=False) == 6 * (128 + 512) + 12 * 2 * 16
  assert metrics.flops_per_token(tiny, 16, causal=True) == 6 * (128 + 512) + 6 * 2 * 16


def test_bits_per_residue_are_base_two_and_by_class():
  table = np.array([[0.0, 2 * np.log(2), 0.0, np.log(2)], [0, 1, 0, 4]])
  found = metrics.table_metrics("valid/x", table)
  assert found == pytest.approx({"valid/x/dna": 2.0, "valid/x/protein": 0.25, "valid/x/loss": 3 * np.log(2) / 5})


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path):
  (tmp_path / "metrics.jsonl").write_text('{"step": 1, "kind": "train"}\n{"step": 2, "ki')
  assert metrics.read_metrics(tmp_path) == [{"step": 1, "kind": "train"}]
  writer = metrics.MetricsWriter(tmp_path, metrics.read_metrics(tmp_path))
  writer.write(2, {"kind": "train", "loss": 1.0})
  writer.close()
  assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1, 2]
