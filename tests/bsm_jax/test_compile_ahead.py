"""Train's step compiled for TPUs that are not here: communication, memory, remedies, files and the command line."""

import dataclasses
import importlib.util
import json
import math
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from bsm_jax import compile_ahead, hardware, sharding, topology
from bsm_jax.ahead import executable, remedies
from bsm_jax.ahead import step as step_lib
from bsm_jax.training import metrics
from bsm_jax.training import program as program_lib
from configs import bsm_110m
from tests.bsm_jax.sample_rows import batch_of_rows

ROOT = pathlib.Path(__file__).parents[2]
TOPOLOGY = "v5e:2x2"
GIB = 2.0**30


@pytest.fixture
def config() -> ConfigDict:
  return small_config()


def small_config(**mesh: int) -> ConfigDict:
  """Two layers that compile in seconds; four rows a device on four devices."""
  config = bsm_110m.get_config()
  config.model.update({"n_layers": 2, "n_heads": 4, "d_model": 128, "head_dim": 32, "d_ff": 256, "remat": "none"})
  config.data.context, config.data.batch_size = 128, 16
  config.model.scan = True
  config.mesh.update(mesh)
  return config


@pytest.fixture(scope="module")
def step() -> step_lib.CompiledStep:
  """Compiled for a mesh of two by two, with the schedule replayed."""
  return step_lib.compile_step(small_config(data=2, fsdp=2), TOPOLOGY, replay=True)


def kinds(step: step_lib.CompiledStep) -> set[tuple[str, tuple[str, ...]]]:
  return {(c.kind, c.axes) for c in step.communication if c.bytes > 1024}


# --- What one compilation says


def test_fsdp_gathers_over_its_axis_and_gradients_are_reduced_over_both(step):
  assert ("all-gather", ("fsdp",)) in kinds(step)
  reduced = {axis for kind, axes in kinds(step) if "reduce" in kind for axis in axes}
  assert reduced == {"data", "fsdp"}
  assert not any("model" in c.axes for c in step.communication)
  assert all(c.executions > 0 and c.seconds > 0 for c in step.communication)


def test_data_parallel_steps_reduce_every_gradient_once():
  step = step_lib.compile_step(small_config(data=4), TOPOLOGY)
  assert {axes for _, axes in kinds(step)} == {("data",)}
  parameters = sum(math.prod(x.shape) for x in jax.tree.leaves(step.program.abstract_state["params"]))
  assert sum(c.bytes for c in step.communication if "reduce" in c.kind) == pytest.approx(4 * parameters, rel=0.1)


def test_slices_exchange_over_the_network_what_each_has_reduced():
  config = small_config()
  config.data.batch_size = 32
  step = step_lib.compile_step(config, TOPOLOGY, num_slices=2)
  between = [c for c in step.communication if c.axes == ("slice",)]
  assert {"all-reduce"} <= {c.kind for c in between}
  assert sum(c.seconds for c in between) == pytest.approx(sum(c.bytes for c in between) / step.chip.dcn_bandwidth)


def test_tensor_parallel_steps_communicate_over_the_model_axis_only():
  step = step_lib.compile_step(small_config(data=1, model=4), TOPOLOGY)
  assert ("all-reduce", ("model",)) in kinds(step)
  assert all(c.axes == ("model",) for c in step.communication)


def test_memory_is_that_of_the_placed_state_and_batch(step):
  memory = step.profile.memory
  state, batch = step.program.abstract_state, step.program.abstract_batch
  on_device = lambda x: math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
  placed = sum(on_device(x) for x in jax.tree.leaves((state, batch)))
  donated = sum(on_device(x) for x in jax.tree.leaves(state))
  # Tiles pad small arrays.
  assert placed <= memory.arguments <= 1.5 * placed
  assert donated <= memory.aliased <= memory.outputs
  parts = memory.arguments + memory.outputs + memory.temporaries + memory.code
  assert memory.total == parts - memory.aliased < step.chip.hbm_bytes == 15.75 * GIB


def test_work_is_analytic_and_the_estimate_rests_on_the_schedule(step):
  tokens = 16 * 128 / 4
  assert step.flops[0] == tokens * metrics.flops_per_token(step.program.model, 128, causal=True)
  assert step.mfu[0] == pytest.approx(step.flops[0] / step.profile.seconds / 197e12)
  assert step.tokens_per_second == pytest.approx(tokens / step.profile.seconds)
  products = [op for op in step.profile.ops if "dot_general" in op.op_name]
  assert products and all(op.is_replayed for op in products)
  # Forward and backward of two layers are loops of two.
  assert {op.times for op in products} == {1, 2}


def test_the_text_and_the_json_hold_the_same_figures(step):
  text, found = compile_ahead.describe(step, TOPOLOGY), compile_ahead.as_json(step, TOPOLOGY)
  for part in ("4 devices (v5e) as data 2 x fsdp 2 x model 1", "4 a device", "static estimate", "if nothing overlaps"):
    assert part in text
  assert json.loads(json.dumps(found)) == json.loads(json.dumps(found, allow_nan=False))
  assert f"{1e3 * found['static_estimate']['seconds']:.2f} ms" in text
  assert found["memory"]["total"] == step.profile.memory.total
  assert {c["kind"] for c in found["collectives"]} == {c.kind for c in step.communication}


# --- Configs and topologies that cannot be


def test_a_batch_that_does_not_divide_is_an_error_with_the_remedy(config):
  config.data.batch_size, config.accumulation = 24, 4
  with pytest.raises(program_lib.ConfigError, match="24 does not divide into 4 microbatches over 4 .* multiple of 16"):
    step_lib.compile_step(config, TOPOLOGY)


def test_rows_per_device_set_the_batch(config):
  mesh = program_lib.make_mesh(small_config(data=2, fsdp=2), topology.devices(TOPOLOGY))
  config.accumulation = 3
  changed = step_lib.with_rows(config, mesh, 5)
  assert (changed.data.batch_size, program_lib.rows_per_device(changed, mesh)) == (5 * 3 * 4, 5)
  assert config.data.batch_size == 16


def test_a_mesh_of_another_size_is_an_error():
  with pytest.raises(program_lib.ConfigError, match="does not fit 4 devices"):
    step_lib.compile_step(small_config(data=8), TOPOLOGY)


def test_slices_are_crossed_by_data_parallelism_alone():
  devices = topology.devices("v5e:2x2", 2)
  mesh = program_lib.make_mesh(small_config(fsdp=2), devices)
  assert dict(mesh.shape) == {"slice": 2, "data": 2, "fsdp": 2, "model": 1}
  assert [{d.slice_index for d in of_slice.flat} for of_slice in mesh.devices] == [{0}, {1}]
  with pytest.raises(program_lib.ConfigError, match="mesh.data 1 is not a multiple of 2 slices"):
    program_lib.make_mesh(small_config(data=1, fsdp=8), devices)


def test_an_unknown_topology_is_an_error_with_examples():
  with pytest.raises(topology.TopologyError, match="no topology 'v99:2x2'.*examples: v5e:2x2"):
    topology.devices("v99:2x2")


def test_without_libtpu_the_error_says_what_to_install(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
  with pytest.raises(topology.TopologyError, match=r"pip install 'bsm_jax\[tpu\]'"):
    topology.devices.__wrapped__(TOPOLOGY)


# --- What does not fit


def test_what_the_compiler_cannot_place_is_read_from_its_error():
  one = sharding.replicated(sharding.make_mesh((1, 1, 1), topology.devices(TOPOLOGY)[:1]))
  lowered = jax.jit(jnp.negative).lower(jax.ShapeDtypeStruct((10 * 2**30,), jnp.float32, sharding=one))
  with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED") as error, topology.captured(lowered):
    pass
  assert step_lib.needed_bytes(str(error.value)) == 80 * GIB


@pytest.mark.parametrize(
    ("message", "needed"),
    [
        ("Ran out of memory in memory space hbm. Used 26.04G of 15.75G hbm. Exceeded by 10.29G", 26.04 * GIB),
        ("the total memory required for HLO temporaries (500.5M) exceeds available HBM (15.75G)", 500.5 * 2**20),
        ("nothing is said", None),
    ],
)
def test_needs_are_read_in_the_compilers_words(message, needed):
  assert step_lib.needed_bytes(message) == needed


def test_remedies_are_tried_and_the_fastest_that_fits_comes_first(config, monkeypatch):
  seconds = {"remat=dots": 3.0, "remat=full": 4.0, "accumulation=2": 2.0}
  chip = hardware.chip_of("TPU v5 lite")

  def compile_step(config, topology_name, *, num_slices, replay, chip):
    flag = f"remat={config.model.remat}" if config.model.remat != "none" else f"accumulation={config.accumulation}"
    if config.mesh.fsdp == 4:
      raise step_lib.DoesNotFitError(20 * GIB, chip.hbm_bytes)
    if config.data.batch_size == 8:
      raise step_lib.DoesNotFitError(None, chip.hbm_bytes)
    memory = dataclasses.make_dataclass("Memory", ["total"])(10 * GIB)
    profile = dataclasses.make_dataclass("Profile", ["memory"])(memory)
    return dataclasses.make_dataclass("Step", ["profile", "tokens_per_second"])(profile, 1 / seconds[flag])

  monkeypatch.setattr(remedies, "compile_step", compile_step)
  said = []
  tried = remedies.try_remedies(config, TOPOLOGY, chip=chip, progress=said.append)
  assert [r.flags for r in tried] == [
      "--config.accumulation=2",
      "--config.model.remat=dots",
      "--config.model.remat=full",
      "--config.mesh.data=-1 --config.mesh.fsdp=4",
      "--config.data.batch_size=8",
  ]
  assert len(said) == len(tried)
  advice = compile_ahead.advice(tried, chip.hbm_bytes)
  assert advice.count("fits") == 3 and "needs 10.00 GiB of 15.75 GiB" in advice


def test_a_batch_given_by_rows_is_changed_by_rows(config):
  mesh = program_lib.make_mesh(config, topology.devices(TOPOLOGY))
  found = remedies.remedies(config, mesh, rows_flag=True)
  assert found["--rows_per_device=2"] == {"data.batch_size": 8}
  assert found["--config.accumulation=2 --rows_per_device=2"] == {"accumulation": 2}


def test_nothing_left_to_try_is_said(config):
  config.model.remat, config.data.batch_size = "full", 1
  mesh = sharding.make_mesh((1, 1, 1), topology.devices(TOPOLOGY)[:1])
  assert not remedies.remedies(config, mesh, rows_flag=False)
  assert "larger topology" in compile_ahead.advice([], 1e9)


@pytest.mark.slow
def test_a_step_too_large_for_a_small_chip_fits_with_more_microbatches(monkeypatch):
  config = small_config(data=4)
  config.data.context = 1024
  fits = step_lib.compile_step(config, TOPOLOGY, rows=32).profile.memory
  small = dataclasses.replace(hardware.chip_of("TPU v5 lite"), hbm_bytes=fits.total - fits.temporaries // 4)
  with pytest.raises(step_lib.DoesNotFitError, match="does not fit: needs"):
    step_lib.compile_step(config, TOPOLOGY, rows=32, chip=small)
  monkeypatch.setattr(remedies, "remedies", lambda *_, **__: {"--config.accumulation=4": {"accumulation": 4}})
  (tried,) = remedies.try_remedies(config, TOPOLOGY, rows=32, chip=small)
  assert tried.tokens_per_second > 0 and tried.needed <= small.hbm_bytes


# --- The executable as a file


def test_a_saved_step_loads_and_runs_like_the_one_that_was_compiled(config, tmp_path):
  config.model.dtype = "float32"
  program = program_lib.make_program(config, sharding.make_mesh((4, 1, 1), jax.devices()[:4]))
  compiled = program.train_step.lower(program.abstract_state, program.abstract_batch).compile()
  executable.save(tmp_path / "step", compiled, program)
  assert [f.name for f in tmp_path.iterdir()] == ["step"]
  loaded = executable.load(tmp_path / "step", program)
  tokens = np.random.default_rng(0).integers(8, 13, (16, 128)).astype(np.uint8)
  batch = jax.device_put(batch_of_rows(tokens), program.batch_sharding)
  results = [jax.device_get(train_step(program.init(), batch)) for train_step in (compiled, loaded)]
  jax.tree.map(np.testing.assert_array_equal, *results)


def test_a_step_saved_for_tpus_is_refused_elsewhere_with_the_difference(step, tmp_path):
  executable.save(tmp_path / "step", step.executable, step.program)
  cpu = program_lib.make_program(small_config(), sharding.make_mesh((2, 2, 1), jax.devices()[:4]))
  with pytest.raises(executable.ExecutableError, match="device_kind: 'TPU v5 lite' in the file, 'cpu' here"):
    executable.load(tmp_path / "step", cpu)
  (tmp_path / "other").write_bytes(b"no JSON")
  with pytest.raises(executable.ExecutableError, match="holds no compiled train step"):
    executable.load(tmp_path / "other", cpu)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(step, tmp_path, monkeypatch):
  (tmp_path / "step").mkdir()
  with pytest.raises(OSError):
    executable.save(tmp_path / "step", step.executable, step.program)
  assert [f.name for f in tmp_path.iterdir()] == ["step"]


# --- The command line


def test_kernels_that_were_not_replayed_make_the_step_time_a_bound(step):
  kernel = dataclasses.replace(step.profile.ops[0], is_kernel=True, cycles=0)
  unknown = dataclasses.replace(step, replayed=False, profile=dataclasses.replace(step.profile, ops=(kernel,)))
  assert "step time at least" in compile_ahead.describe(unknown, TOPOLOGY)
  assert "at least" not in compile_ahead.describe(step, TOPOLOGY)


def test_the_command_prints_the_step_and_writes_its_files(tmp_path):
  command = [
      sys.executable, "-m", "bsm_jax.compile_ahead", "--config=configs/bsm_110m.py", f"--topology={TOPOLOGY}",
      "--config.model.n_layers=1", "--config.model.d_model=128", "--config.model.n_heads=2", "--config.model.d_ff=256",
      "--config.data.context=128", "--rows_per_device=2", "--static_profile", "--top=3",
      f"--json={tmp_path / 'step.json'}", f"--save={tmp_path / 'step'}",
  ]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert "8 rows of 128 a step, 2 a device" in done.stdout
  assert "static estimate from the replayed schedule" in done.stdout
  assert "E0000" not in done.stderr and "WARNING" not in done.stderr
  assert json.loads((tmp_path / "step.json").read_text())["rows_per_device"] == 2
  assert json.loads((tmp_path / "step").read_bytes().partition(b"\n")[0])["device_kind"] == "TPU v5 lite"


def test_the_command_ends_with_an_error_for_an_unknown_topology():
  command = [sys.executable, "-m", "bsm_jax.compile_ahead", "--config=configs/bsm_110m.py", "--topology=v99:2x2"]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 1
  assert "error: libtpu knows no topology 'v99:2x2'" in done.stderr and "Traceback" not in done.stderr
