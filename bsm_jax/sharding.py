"""Where arrays lie: the device mesh, and ordered (regex, PartitionSpec) rules for parameters and optimizer state."""

import math
import re
from collections.abc import Callable, Sequence

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ("data", "fsdp", "model")

# First match wins; paths read like `layers/00/qkv`. Optimizer moments end in the path of their parameter and follow it.
RULES: tuple[tuple[str, PartitionSpec], ...] = (
    (r"embedding$", PartitionSpec(None, "fsdp")),
    (r"layers/\d+/(qkv|gate_up)$", PartitionSpec("fsdp", "model")),
    (r"layers/\d+/(attention_out|down)$", PartitionSpec("model", "fsdp")),
    (r"norm$", PartitionSpec()),
    (r"(^|/)(step|count)$", PartitionSpec()),
)

# Adam's moments, wherever optax puts them in its state.
_MOMENT = re.compile(r"(^|/)(mu|nu)/")

BATCH_SPEC = PartitionSpec(("data", "fsdp"))


def make_mesh(shape: Sequence[int], devices: Sequence[jax.Device] | None = None) -> Mesh:
  """A mesh with axes `data`, `fsdp`, `model`.

  Args:
    shape: sizes of the three axes; one of them may be -1, for all the devices that are left.
    devices: all of them by default.

  Raises:
    ValueError: the sizes do not multiply to the number of devices.
  """
  devices = list(jax.devices() if devices is None else devices)
  sizes = list(shape)
  known = 1
  for size in sizes:
    known *= size if size > 0 else 1
  if len(sizes) != 3 or sizes.count(-1) > 1 or any(s == 0 or s < -1 for s in sizes):
    raise ValueError(f"mesh {tuple(shape)}: give sizes of (data, fsdp, model), at most one of them -1")
  if -1 in sizes:
    sizes[sizes.index(-1)] = len(devices) // known
  if sizes[0] * sizes[1] * sizes[2] != len(devices):
    raise ValueError(f"mesh {tuple(shape)} over (data, fsdp, model) does not fit {len(devices)} devices")
  # An axis of the mesh may be a part of an axis of the chips' torus (fsdp 4 on 16 x 16).
  placed = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
  return Mesh(placed, AXES, axis_types=(AxisType.Auto,) * 3)


def spec_for(path: str, rules: Sequence[tuple[str, PartitionSpec]] = RULES) -> PartitionSpec:
  """The PartitionSpec of the first rule that matches.

  Raises:
    ValueError: no rule matches: a new parameter must be placed on purpose.
  """
  for pattern, spec in rules:
    if re.search(pattern, path):
      return spec
  raise ValueError(f"no sharding rule for {path!r}: add one to bsm_jax.sharding.RULES")


def _spread_over_data(spec: PartitionSpec, shape: Sequence[int], mesh: Mesh) -> PartitionSpec:
  """Adds `data` to the first axis that it divides, beside what already splits it; the same spec if there is none."""
  parts = list(spec) + [None] * (len(shape) - len(spec))
  for axis, size in enumerate(shape):
    names = parts[axis] if isinstance(parts[axis], tuple) else (parts[axis],) if parts[axis] else ()
    if size % math.prod(mesh.shape[name] for name in (*names, "data")) == 0:
      return PartitionSpec(*parts[:axis], (*names, "data"), *parts[axis + 1 :])
  return spec


def _name(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator="/")


def moment_shardings(params, mesh: Mesh, rules: Sequence[tuple[str, PartitionSpec]] = RULES):
  """Where Adam's moments of each parameter lie, and where its gradient is summed.

  Those of matrices are spread over `data` too, where parameters are replicated: each device updates its part, and the
  parameters are gathered, which moves no more than summing gradients on every device (arXiv 1910.02054, stage 1).
  """

  def place(path, leaf) -> NamedSharding:
    spec = spec_for(_name(path), rules)
    return NamedSharding(mesh, _spread_over_data(spec, leaf.shape, mesh) if leaf.ndim == 2 else spec)

  return jax.tree_util.tree_map_with_path(place, params)


def tree_shardings(tree, mesh: Mesh, rules: Sequence[tuple[str, PartitionSpec]] = RULES):
  """A NamedSharding for every leaf of a tree of parameters, optimizer state, or both; see `moment_shardings`."""

  def place(path, leaf) -> NamedSharding:
    spec = spec_for(_name(path), rules)
    of_moment = _MOMENT.search(_name(path)) and leaf.ndim == 2
    return NamedSharding(mesh, _spread_over_data(spec, leaf.shape, mesh) if of_moment else spec)

  return jax.tree_util.tree_map_with_path(place, tree)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Rows of a batch, spread over `data` and `fsdp`."""
  return NamedSharding(mesh, BATCH_SPEC)


def shard_attention(attend: Callable, feature_major: bool, mesh: Mesh) -> Callable:
  """Runs attention on each device's own rows and heads, without communication.

  Args:
    attend: `attend(qkv, segment_ids [b, s], table [b, features, s]) -> out`, qkv and out as [tokens, features].
    feature_major: they are [features, tokens] instead.
    mesh: rows lie along `data` and `fsdp`, heads along `model`.
  """
  rows = BATCH_SPEC[0]
  features = PartitionSpec("model", rows) if feature_major else PartitionSpec(rows, "model")
  in_specs = (features, PartitionSpec(rows), PartitionSpec(rows))
  return jax.shard_map(attend, mesh=mesh, in_specs=in_specs, out_specs=features, check_vma=False)


def over_tokens(mesh: Mesh) -> Callable:
  """`over_devices(function, in_cuts, out_cuts) -> function` for functions of each device's own tokens.

  Cuts: 0 for arrays with tokens in rows, 1 for tokens in columns, 2 for arrays that every device has whole.
  """
  specs = (PartitionSpec(BATCH_SPEC[0]), PartitionSpec(None, BATCH_SPEC[0]), PartitionSpec())

  def over_devices(function: Callable, in_cuts: Sequence[int], out_cuts: Sequence[int]) -> Callable:
    in_specs, out_specs = (tuple(specs[cut] for cut in cuts) for cuts in (in_cuts, out_cuts))
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)

  return over_devices


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())
