"""What goes wrong in long runs: numbers, storage, data workers; nothing is lost, and the message says what to do."""

import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bsm_jax import model as model_lib
from bsm_jax import sharding, tokenizer, train
from bsm_jax.input import loader, mixture, rows
from bsm_jax.training import checkpoint, metrics, program, progress, step
from tests.bsm_jax.sample_rows import CONTEXT, batch_of_rows, random_documents, write_row_set
from tests.bsm_jax.sample_runs import write_config

MODEL = model_lib.ModelConfig(
    vocab_size=tokenizer.VOCAB_SIZE, n_layers=1, n_heads=2, d_model=32, head_dim=16, d_ff=64, dtype="float32"
)
GUARD = step.GuardConfig()


# --- Steps that are thrown away


def poisoned_by_unknown(apply, by: float):
  """`apply`, whose logits of rows that hold `<unk>` are multiplied by `by`."""

  def poisoned(params, tokens_bs, *rest):
    of_row_b11 = jnp.where((tokens_bs == tokenizer.UNK).any(1), by, 1.0)[:, None, None]
    return apply(params, tokens_bs, *rest) * of_row_b11

  return poisoned


def batches(count: int, bad: int | None = None) -> list[dict[str, np.ndarray]]:
  """Batches of four rows, one of them with a poisoned row 2."""
  found = []
  for number in range(count):
    documents = random_documents(np.random.default_rng(number), 4)
    tokens = np.stack([np.pad(d, (0, CONTEXT - len(d))) for d in documents])
    if number == bad:
      tokens[2, 3] = tokenizer.UNK
    found.append(batch_of_rows(tokens) | {"row": np.arange(4, dtype=np.int32) + 4 * number})
  return found


def trained(of: list[dict], by: float, guard=GUARD, accumulation: int = 1) -> tuple[dict, list[dict]]:
  optimizer = step.make_optimizer(step.OptimizerConfig())
  apply = poisoned_by_unknown(model_lib.make_apply(MODEL), by)
  one = jax.jit(step.make_train_step(
      apply, optimizer, lambda _: 1e-3, n_row_sets=1, guard=guard, accumulation=accumulation
  ))  # fmt: skip
  state, seen = step.init_state(model_lib.init_params(MODEL, 0), optimizer), []
  for batch in of:
    state, found = one(state, batch)
    seen.append(jax.device_get(found))
  return jax.device_get(state), seen


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_step_without_a_finite_loss_changes_nothing_and_is_counted(accumulation):
  state, seen = trained(batches(4, bad=2), np.nan, accumulation=accumulation)
  assert [bool(m["skipped"]) for m in seen] == [False, False, True, False]
  assert [int(m["skipped_in_all"]) for m in seen] == [0, 0, 1, 1] and [int(m["in_a_row"]) for m in seen] == [0, 0, 1, 0]
  assert seen[2]["worst_rows"][0] == 10 and not seen[2]["table"].any()
  without, _ = trained(batches(2) + batches(4)[3:], np.nan, accumulation=accumulation)
  assert state["step"] == 4 and without["step"] == 3
  for name in ("params", "opt_state"):
    jax.tree.map(np.testing.assert_array_equal, state[name], without[name])


def test_a_spike_of_the_gradient_is_thrown_away_only_once_its_norm_is_known():
  guard = step.GuardConfig(spike_factor=5.0, window=3)
  _, seen = trained(batches(6, bad=4), 1e3, guard)
  assert [bool(m["skipped"]) for m in seen] == [False] * 4 + [True, False]
  assert seen[4]["grad_norm"] > 5 * seen[3]["grad_norm"]
  _, early = trained(batches(6, bad=1), 1e3, guard)
  assert not any(m["skipped"] for m in early)
  _, off = trained(batches(6, bad=4), 1e3, step.GuardConfig(spike_factor=0.0, window=3))
  assert not any(m["skipped"] for m in off)


def test_a_gradient_that_stays_large_is_stepped_out_of():
  config = step.GuardConfig(spike_factor=5.0, window=3, spikes_in_a_row=2)
  guard = step.init_state({}, step.make_optimizer(step.OptimizerConfig()))["guard"]
  taken = []
  for number, norm in enumerate([1.0] * 5 + [50.0] * 5 + [300.0, 50.0] + [jnp.nan] * 4):
    fine, guard = step.check(config, guard, jnp.int32(number), jnp.float32(1.0), jnp.float32(norm))
    taken.append(bool(fine))
  # The mean is 50 from the third large one on, and no gradient that is not finite is ever taken.
  assert taken == [True] * 5 + [False, False, True, True, True] + [False, True] + [False] * 4


def test_a_run_of_skipped_steps_ends_with_the_rows_that_did_it(small_config, tmp_path, monkeypatch):
  original = model_lib.make_apply
  monkeypatch.setattr(model_lib, "make_apply", lambda *args: poisoned_by_unknown(original(*args), np.nan))
  root = tmp_path / "rows"
  write_row_set(root, "single")
  write_row_set(root, "pairs")
  write_row_set(root, "poisoned", poison=tokenizer.UNK)
  small_config.data.root = str(root)
  small_config.guard.max_in_a_row = 3
  small_config.rounds.b.weights = {"poisoned": 1.0}
  said = r"steps 7 to 9 had to be skipped.*loss nan.*poisoned:\d+@\d+(.|\n)*inspect"
  with pytest.raises(train.UnstableError, match=said):
    train.train(small_config, str(tmp_path / "run"))
  kept = checkpoint.Checkpointer(tmp_path / "run/checkpoints")
  assert kept.latest_step() == 6
  kept.close()


# --- Rows that cannot be read


@pytest.fixture
def no_waiting(monkeypatch):
  monkeypatch.setattr(rows, "RETRY_SECONDS", (0.0, 0.0, 0.0))


def shard(root: pathlib.Path) -> pathlib.Path:
  return root / "single/train/rows-00000-of-00001.array_record"


@pytest.mark.usefixtures("no_waiting")
def test_a_corrupt_row_is_named_with_its_shard(tmp_path):
  write_row_set(tmp_path, "single")
  content = bytearray(shard(tmp_path).read_bytes())
  source = rows.open_row_set(str(tmp_path), "single", "train").source()
  at = content.index(source[5].tobytes())
  content[at + 7] ^= 1
  shard(tmp_path).write_bytes(content)
  damaged = rows.open_row_set(str(tmp_path), "single", "train").source()
  np.testing.assert_array_equal(damaged[4], source[4])
  with pytest.raises(rows.RowsError, match=r"single/train: row 5 in \S+00000-of-00001.array_record cannot be read"):
    damaged[5]


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("size", [0, 70_000])
def test_a_shard_cut_short_is_named(tmp_path, size):
  write_row_set(tmp_path, "single")
  os.truncate(shard(tmp_path), size)
  with pytest.raises(rows.RowsError, match=r"cannot open \S+rows-00000-of-00001.array_record .*Copy or build"):
    rows.open_row_set(str(tmp_path), "single", "train").source()


def test_storage_that_fails_for_a_while_is_tried_again(rows_root, monkeypatch):
  waited = []
  monkeypatch.setattr(time, "sleep", waited.append)
  row_set = rows.open_row_set(str(rows_root), "single", "train")
  expected = row_set.source()[3]
  source, opened = row_set.source(), []
  original = rows.ArrayRecordRows._open

  class Unreachable:
    def __getitem__(self, index):
      raise RuntimeError("connection reset")

  def flaky(self, paths):
    opened.append(paths)
    return Unreachable() if len(opened) == 1 else original(self, paths)

  monkeypatch.setattr(rows.ArrayRecordRows, "_open", flaky)
  source._records = None
  np.testing.assert_array_equal(source[3], expected)
  assert waited == [rows.RETRY_SECONDS[0]]


def test_a_data_worker_that_hangs_is_noticed_and_its_rows_named(rows_root, monkeypatch):
  held = threading.Event()
  monkeypatch.setattr(rows.ArrayRecordRows, "__getitem__", lambda self, index: held.wait())
  stream = mixture.MixtureInput(str(rows_root), [mixture.RoundRows(64, {"single": 1})], seed=0, context=CONTEXT)
  stuck = loader.TrainBatches(stream, 8, sharding.batch_sharding(sharding.make_mesh((8, 1, 1))), stall_seconds=0.3)
  stuck.seek(16)
  with pytest.raises(loader.DataStalledError, match=r"for 0.3 s: rows 16 to 23 .*single:\d+@0 to single:\d+@0"):
    next(stuck)
  held.set()


def test_an_error_in_a_data_worker_reaches_the_run(rows_root, monkeypatch):
  stream = mixture.MixtureInput(str(rows_root), [mixture.RoundRows(64, {"single": 1})], seed=0, context=CONTEXT)

  def broken(self, index):
    raise rows.RowsError(f"row {index} is broken")

  monkeypatch.setattr(rows.ArrayRecordRows, "__getitem__", broken)
  with pytest.raises(rows.RowsError, match="is broken"):
    next(loader.TrainBatches(stream, 8, sharding.batch_sharding(sharding.make_mesh((8, 1, 1)))))


# --- Checkpoints that cannot be written or read

# The train command, where no file may grow beyond argv[1] bytes; a full disk gives such errors.
LIMITED = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
runpy.run_module("bsm_jax.train", run_name="__main__", alter_sys=True)
"""


def test_storage_that_takes_no_more_stops_the_run_with_its_last_checkpoint_whole(small_config, tmp_path):
  config = write_config(small_config, tmp_path)
  run = lambda limit: subprocess.run(
      [sys.executable, "-c", LIMITED, str(limit), f"--config={config}", f"--workdir={tmp_path / 'run'}"],
      capture_output=True, text=True, cwd=pathlib.Path(__file__).parents[2],
  )  # fmt: skip
  full = run(40_000)
  assert full.returncode == 1, full.stderr[-3000:]
  assert "cannot be written to" in full.stderr and "run the same command" in full.stderr
  assert "there is no complete one yet" in full.stderr
  assert run(1 << 40).returncode == 0
  assert not [p.name for p in (tmp_path / "run/checkpoints").iterdir() if "tmp" in p.name]


def test_a_damaged_checkpoint_is_named_with_the_ones_before_it(small_config, tmp_path):
  train.train(small_config, str(tmp_path))
  newest = tmp_path / "checkpoints/10"
  for path in (newest / "state").rglob("*"):
    if path.is_file():
      os.truncate(path, path.stat().st_size // 2)
  with pytest.raises(checkpoint.CheckpointError, match=r"step 10 in \S+ cannot be read(.|\n)*steps: 6, 9\)"):
    train.train(small_config, str(tmp_path))


# --- What a run says of itself


def test_a_run_compiles_its_step_once_and_again_once_after_a_resume(small_config, tmp_path, monkeypatch):
  programs, original = [], program.make_program
  monkeypatch.setattr(program, "make_program", lambda *args: programs.append(original(*args)) or programs[-1])
  small_config.rounds.b.tokens = 1024
  train.train(small_config, str(tmp_path))
  small_config.rounds.c = small_config.rounds.b
  train.train(small_config, str(tmp_path))
  assert [(p.train_step._cache_size(), p.eval_step._cache_size()) for p in programs] == [(1, 1), (1, 1)]


def test_goodput_counts_what_the_parameters_hold_against_the_time_since_the_first_start(monkeypatch):
  monkeypatch.setattr(time, "time", lambda: 1100.0)
  lines = [
      {"kind": "start", "step": 0, "time": 1000.0}, {"kind": "train", "step": 2, "seconds": 20.0},
      {"kind": "valid", "step": 2}, {"kind": "start", "step": 2, "time": 1070.0},
  ]  # fmt: skip
  assert progress.Goodput(lines).add(30.0) == 0.5
  assert progress.Goodput([]).add(5.0) == 1.0


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.9, "7s"), (65, "1m05s"), (2 * 3600 + 7 * 60, "2h07m"), (3 * 86400 + 4 * 3600, "3d04h")]
)
def test_durations_are_short(seconds, text):
  assert progress.duration(seconds) == text


def test_an_interval_is_one_line():
  values = {
      "round": "round2", "loss": 1.23456, "grad_norm": 0.5, "lr": 1e-5, "skipped": 2, "mfu": 0.5,
      "data_wait_share": 0.01, "goodput": 0.9, "tokens_per_second_per_device": 12345.0, "train/single/dna": 1.9,
      "train/single/loss": 1.3, "train/pairs/dna": 1.5, "train/pairs/protein": 2.25, "train/pairs/special": 0.1,
  }  # fmt: skip
  assert progress.line(40, 100, values, 3661) == (
      "step 40/100 round2: loss 1.2346 [single dna 1.900; pairs dna 1.500 protein 2.250] |g| 0.5 lr 1e-05, 2 steps"
      " skipped, 12,345 tokens/s/device, MFU 50.0%, waiting for data 1.0%, goodput 90.0%, 1h01m left"
  )


def test_a_profile_covers_the_steps_asked_for(small_config, tmp_path):
  train.train(small_config, str(tmp_path), profile=(2, 3))
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("text", ["5", "3:2", "0:4", "a:b"])
def test_a_wrong_profile_is_a_usage_error(text):
  with pytest.raises(train.app.UsageError, match="give the first and the last step"):
    train._parse_profile(text)


def test_weights_and_biases_get_every_number_of_one_resumable_run(tmp_path, monkeypatch):
  seen = []

  class Run:
    def log(self, numbers, step):
      seen.append((step, numbers))

    def finish(self):
      seen.append("finished")

  class Wandb:
    def init(self, **settings):
      seen.append(settings)
      return Run()

  monkeypatch.setitem(sys.modules, "wandb", Wandb())
  (tmp_path / "arm_a").mkdir()
  writer = metrics.MetricsWriter(tmp_path / "arm_a", [], settings={"seed": 1}, wandb_project="bsm")
  writer.write(3, {"kind": "train", "loss": 1.5, "grad_norm": float("nan")})
  writer.close()
  settings, *logged = seen
  assert settings["id"] == "arm_a" and settings["resume"] == "allow" and settings["config"] == {"seed": 1}
  assert logged == [(3, {"loss": 1.5}), "finished"]
  assert json.loads((tmp_path / "arm_a/metrics.jsonl").read_text()) == {"step": 3, "kind": "train", "loss": 1.5}


def test_weights_and_biases_that_are_not_installed_are_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "wandb", None)
  with pytest.raises(metrics.MetricsError, match=r"pip install -e '.\[wandb\]'"):
    metrics.MetricsWriter(tmp_path, [], wandb_project="bsm")


def test_a_bucket_is_not_taken_for_a_local_folder(monkeypatch):
  seen = []
  monkeypatch.setattr(checkpoint.ocp, "CheckpointManager", lambda folder, **_: seen.append(str(folder)))
  checkpoint.Checkpointer("gs://bucket/run/checkpoints")
  assert seen == ["gs://bucket/run/checkpoints"]
