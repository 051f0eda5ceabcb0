"""Meshes of one and of several slices, the place of every parameter and moment, and that none of it changes a step."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from bsm_jax import model as model_lib
from bsm_jax import sharding
from bsm_jax.training import program
from tests.bsm_jax.sample_runs import Trace, assert_same_steps, first_steps, small_config

MESHES = [(8, 1, 1), (4, 2, 1), (2, 2, 2), (1, 8, 1), (1, 1, 8)]


@dataclasses.dataclass(frozen=True)
class Device:
  """A device that says which slice it belongs to."""

  id: int
  slice_index: int
  process_index: int = 0
  platform: str = "cpu"
  device_kind: str = "cpu"


def numbers(mesh: jax.sharding.Mesh) -> list:
  return np.vectorize(lambda device: device.id)(mesh.devices).tolist()


# --- Meshes


@pytest.mark.parametrize("shape", [(3, 1, 1), (-1, -1, 1), (0, 1, 8), (16, 1, 1), (-1, 16, 1), (8, 1)])
def test_a_mesh_that_does_not_fit_is_an_error(shape):
  with pytest.raises(ValueError, match="mesh"):
    sharding.make_mesh(shape)


def test_one_axis_takes_the_devices_that_are_left():
  assert dict(sharding.make_mesh((-1, 2, 1)).shape) == {"slice": 1, "data": 4, "fsdp": 2, "model": 1}
  assert dict(sharding.make_mesh((2, 1, -1), slices=2).shape) == {"slice": 2, "data": 1, "fsdp": 1, "model": 4}


def test_data_parallelism_crosses_slices_and_the_other_axes_stay_inside():
  assert numbers(sharding.make_mesh((4, 2, 1), slices=2)) == [[[[0], [1]], [[2], [3]]], [[[4], [5]], [[6], [7]]]]
  assert numbers(sharding.make_mesh((2, 2, 2), slices=2)) == [[[[0, 1], [2, 3]]], [[[4, 5], [6, 7]]]]


def test_each_slice_has_all_moments_and_a_part_of_the_rows():
  run = program.make_program(small_config(), sharding.make_mesh((4, 2, 1), slices=2))
  moments = [x.sharding.spec for name, x in paths(run.abstract_state).items() if "/mu/" in name and x.ndim == 2]
  assert moments and all("slice" not in str(spec) and "data" in str(spec) for spec in moments)
  assert run.batch_sharding.shard_shape((16,)) == (2,)


def test_slices_are_found_by_what_devices_say():
  interleaved = [Device(id=k, slice_index=k % 2) for k in range(8)]
  mesh = sharding.make_mesh((4, 1, 2), interleaved)
  assert numbers(mesh) == [[[[0, 2]], [[4, 6]]], [[[1, 3]], [[5, 7]]]]
  assert numbers(sharding.make_mesh((4, 1, 2), interleaved, slices=2)) == numbers(mesh)


@pytest.mark.parametrize(
    ("shape", "slices", "message"),
    [
        ((1, 4, 2), 2, r"mesh.data 1 is not a multiple of 2 slices.*must divide the 4 devices of a slice"),
        ((2, 4, 1), 4, "mesh.data 2 is not a multiple of 4 slices"),
        ((8, 1, 1), 3, "8 devices do not divide into 3 slices"),
    ],
)
def test_axes_that_would_cross_slices_are_refused(shape, slices, message):
  with pytest.raises(ValueError, match=message):
    sharding.make_mesh(shape, slices=slices)


def test_slices_that_are_not_as_said_are_refused():
  devices = [Device(id=k, slice_index=k // 4) for k in range(8)]
  with pytest.raises(ValueError, match="mesh of 4 slices: the devices belong to 2"):
    sharding.make_mesh((8, 1, 1), devices, slices=4)
  with pytest.raises(ValueError, match=r"slices of different size: \[4, 3\] devices"):
    sharding.make_mesh((7, 1, 1), devices[:7])


def test_heads_that_do_not_divide_over_the_model_axis_are_refused():
  config = small_config()
  config.model.n_heads = 2
  with pytest.raises(program.ConfigError, match="n_heads 2 is not a multiple of mesh.model 8"):
    program.make_program(config, sharding.make_mesh((1, 1, 8)))


# --- The place of every array


def paths(tree) -> dict:
  name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")
  return {name(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def test_every_parameter_and_moment_has_its_place():
  run = program.make_program(small_config(), sharding.make_mesh((2, 2, 2)))
  table = {name: tuple(x.sharding.spec) for name, x in paths(run.abstract_state).items()}
  # Of each matrix: where the parameter lies, and where its moments do, which are spread over `data` as well.
  matrices = {"embedding": ((None, "fsdp"), ("data", "fsdp"))}
  norms = ["final_norm"]
  for layer in ("00", "01"):
    inward, outward = (("fsdp", "model"), (("fsdp", "data"), "model")), (("model", "fsdp"), (("model", "data"), "fsdp"))
    matrices |= {f"layers/{layer}/{name}": inward for name in ("qkv", "gate_up")}
    matrices |= {f"layers/{layer}/{name}": outward for name in ("attention_out", "down")}
    norms += [f"layers/{layer}/{name}" for name in ("attention_norm", "mlp_norm")]
  expected = {}
  for kind, which in (("params", 0), ("mu", 1), ("nu", 1)):
    expected |= {f"{kind}/{name}": specs[which] for name, specs in matrices.items()}
    expected |= {f"{kind}/{name}": () for name in norms}
  # Optax says under which number the moments stand.
  found = {re.sub(r"^opt_state/\d+/(mu|nu)/", r"\1/", name): spec for name, spec in table.items()}
  scalars = {name for name, x in paths(run.abstract_state).items() if not x.shape}
  assert {name: spec for name, spec in found.items() if name not in scalars} == expected
  assert all(found[name] == () for name in scalars)


def test_a_fresh_state_lies_where_the_rules_say_and_a_step_leaves_it_there():
  run = program.make_program(small_config(), sharding.make_mesh((4, 2, 1)))
  expected = {name: x.sharding for name, x in paths(run.abstract_state).items()}
  assert {name: x.sharding for name, x in paths(run.init()).items()} == expected
  lowered = run.train_step.lower(run.abstract_state, run.abstract_batch)
  assert {name: x.sharding for name, x in paths(lowered.out_info[0]).items()} == expected


def test_a_parameter_without_a_rule_is_an_error():
  with pytest.raises(ValueError, match="no sharding rule for 'layers/router'"):
    sharding.spec_for("layers/router")


TABLE = """\
mesh data 4 x fsdp 2 x model 1
parameter                     shape      dtype    placed           bytes  moments  placed                   bytes
embedding                     (128, 64)  float32  (None, fsdp)    16,384  float32  (data, fsdp)             8,192
final_norm                    (64,)      float32  ()                 256  float32  ()                         512
layers/00..01/attention_norm  (64,)      float32  ()                 512  float32  ()                       1,024
layers/00..01/attention_out   (128, 64)  float32  (model, fsdp)   32,768  float32  ((model, data), fsdp)   16,384
layers/00..01/down            (128, 64)  float32  (model, fsdp)   32,768  float32  ((model, data), fsdp)   16,384
layers/00..01/gate_up         (64, 256)  float32  (fsdp, model)   65,536  float32  ((fsdp, data), model)   32,768
layers/00..01/mlp_norm        (64,)      float32  ()                 512  float32  ()                       1,024
layers/00..01/qkv             (64, 384)  float32  (fsdp, model)   98,304  float32  ((fsdp, data), model)   49,152
on a device                                                      247,040                                  125,440
"""


def test_the_table_shows_where_everything_lies():
  mesh = sharding.make_mesh((4, 2, 1))
  run = program.make_program(small_config(), mesh)
  assert sharding.describe(run.abstract_state, mesh) == TABLE.rstrip("\n")


def test_the_table_has_each_parameter_once_and_its_sums_are_the_memory():
  mesh = sharding.make_mesh((2, 2, 2))
  run = program.make_program(small_config(), mesh)
  _, _, *lines, total = sharding.describe(run.abstract_state, mesh).splitlines()
  named = []
  for line in lines:
    name = line.split()[0]
    span = re.search(r"(\d+)\.\.(\d+)", name)
    layers = range(int(span[1]), int(span[2]) + 1) if span else [None]
    named += [name if k is None else name.replace(span[0], model_lib.layer_name(k)) for k in layers]
  assert sorted(named) == sorted(paths(run.abstract_state["params"]))
  on_device = lambda tree: sum(x.addressable_data(0).nbytes for x in jax.tree.leaves(tree) if x.ndim)
  state = run.init()
  assert [int(n.replace(",", "")) for n in re.findall(r"[\d,]+", total)] == [
      on_device(state["params"]), on_device(state["opt_state"]),
  ]


def test_layers_that_lie_apart_stand_apart_in_the_table():
  state = {kind: {"layers": {}} for kind in ("params", "mu", "nu")}
  for kind in state:
    for layer, width in (("00", 64), ("01", 64), ("02", 32)):
      state[kind]["layers"][layer] = {"down": jax.ShapeDtypeStruct((width, 8), np.float32)}
  text = sharding.describe(state, sharding.make_mesh((8, 1, 1)))
  assert [line.split()[0] for line in text.splitlines()[2:-1]] == ["layers/00..01/down", "layers/02/down"]


# --- The mesh does not change what is computed


@pytest.fixture(scope="module")
def on_one_device() -> Trace:
  return first_steps(small_config(), sharding.make_mesh((1, 1, 1), jax.devices()[:1]))


def test_the_two_steps_move_every_parameter(on_one_device):
  config = small_config()
  fresh = paths(program.make_program(config, sharding.make_mesh((1, 1, 1), jax.devices()[:1])).init()["params"])
  assert on_one_device.gradient.keys() == on_one_device.params.keys() == fresh.keys()
  for name, parameter in on_one_device.params.items():
    assert np.abs(on_one_device.gradient[name]).max() > 1e-4
    assert np.abs(parameter - np.asarray(fresh[name])).max() > 1e-3


@pytest.mark.parametrize("shape", MESHES)
def test_loss_gradients_and_two_steps_are_those_of_one_device(on_one_device, shape):
  assert_same_steps(first_steps(small_config(), sharding.make_mesh(shape)), on_one_device)


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["dots", "full"])
@pytest.mark.parametrize("shape", MESHES)
def test_they_are_with_microbatches_and_recomputation_too(on_one_device, shape, remat):
  config = small_config(accumulation=2, remat=remat)
  assert_same_steps(first_steps(config, sharding.make_mesh(shape)), on_one_device)
