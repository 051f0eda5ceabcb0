"""Where arrays lie: the device mesh, and ordered (regex, PartitionSpec) rules for parameters and optimizer state."""

import collections
import math
import re
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ("slice", "data", "fsdp", "model")

# First match wins; paths read like `layers/00/qkv`. Optimizer moments end in the path of their parameter and follow it.
RULES: tuple[tuple[str, PartitionSpec], ...] = (
    (r"embedding$", PartitionSpec(None, "fsdp")),
    (r"layers/\d+/(qkv|gate_up)$", PartitionSpec("fsdp", "model")),
    (r"layers/\d+/(attention_out|down)$", PartitionSpec("model", "fsdp")),
    (r"norm$", PartitionSpec()),
    (r"(^|/)(step|count|skipped|in_a_row)$", PartitionSpec()),
)

# Adam's moments, wherever optax puts them in its state.
_MOMENT = re.compile(r"(^|/)(mu|nu)/")

# What rows of a batch lie along.
ROW_AXES = ("slice", "data", "fsdp")
BATCH_SPEC = PartitionSpec(ROW_AXES)


def make_mesh(
    shape: Sequence[int], devices: Sequence[jax.Device] | None = None, *, slices: int | None = None
) -> Mesh:
  """A mesh with axes `slice`, `data`, `fsdp`, `model`; data parallelism alone crosses slices.

  Between slices is the data centre's network (DCN), tens of times slower than the links inside a slice (ICI). Data
  parallelism sends the least: gradients, once a step, where `fsdp` gathers weights and `model` sums activations in
  every layer. It has two axes, so that slices exchange nothing else: what is spread over `data` is whole in each slice.

  Args:
    shape: sizes of (data, fsdp, model) over all slices; one of them may be -1, for all the devices that are left. The
      mesh's own `data` is the part of the first that one slice holds.
    devices: all of them by default.
    slices: how many there are; by default as many as the devices say. JAX takes each host of GPUs for one, unless
      JAX_PARTITION_INDEX tells it the slice of a host. Devices that all say the same, or nothing, are cut into blocks
      that follow each other, which are whole hosts if these divide evenly.

  Raises:
    ValueError: the sizes do not multiply to the number of devices, or inner axes would cross slices.
  """
  devices = list(jax.devices() if devices is None else devices)
  sizes = list(shape)
  if len(sizes) != 3 or sizes.count(-1) > 1 or any(s == 0 or s < -1 for s in sizes):
    raise ValueError(f"mesh {tuple(shape)}: give sizes of (data, fsdp, model), at most one of them -1")
  if -1 in sizes:
    sizes[sizes.index(-1)] = len(devices) // -math.prod(sizes)
  if math.prod(sizes) != len(devices):
    raise ValueError(f"mesh {tuple(shape)} over (data, fsdp, model) does not fit {len(devices)} devices")
  blocks = _slices(devices, slices)
  if sizes[0] % len(blocks):
    raise ValueError(
        f"mesh.data {sizes[0]} is not a multiple of {len(blocks)} slices, which it has to cross: mesh.fsdp x mesh.model"
        f" must divide the {len(blocks[0])} devices of a slice"
    )
  inner = [sizes[0] // len(blocks), *sizes[1:]]
  # An axis of the mesh may be a part of an axis of the chips' torus (fsdp 4 on 16 x 16).
  placed = [mesh_utils.create_device_mesh(inner, block, allow_split_physical_axes=True) for block in blocks]
  return Mesh(np.stack(placed), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def shape_text(mesh: Mesh) -> str:
  """As `data 4 x fsdp 2 x model 1`; several slices come first."""
  return " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items() if axis != "slice" or size > 1)


def row_places(mesh: Mesh) -> int:
  """How many parts the rows of a batch are cut into."""
  return math.prod(mesh.shape[axis] for axis in ROW_AXES)


def _slices(devices: list[jax.Device], count: int | None) -> list[list[jax.Device]]:
  """The devices of each slice; see `make_mesh`."""
  by_index = collections.defaultdict(list)
  for device in devices:
    # CPUs of a process that joined no others do not have the attribute.
    by_index[getattr(device, "slice_index", 0)].append(device)
  found = [by_index[index] for index in sorted(by_index)]
  if len(found) == 1 and count:
    if len(devices) % count:
      raise ValueError(f"{len(devices)} devices do not divide into {count} slices")
    size = len(devices) // count
    return [devices[start : start + size] for start in range(0, len(devices), size)]
  if count not in (None, len(found)):
    raise ValueError(f"mesh of {count} slices: the devices belong to {len(found)}")
  if len({len(block) for block in found}) > 1:
    raise ValueError(f"mesh over slices of different size: {[len(block) for block in found]} devices")
  return found


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
  """Rows of a batch, spread over `ROW_AXES`."""
  return NamedSharding(mesh, BATCH_SPEC)


def describe(state, mesh: Mesh) -> str:
  """A table of where parameters and their moments lie, for a reader: each parameter in one line.

  Layers that lie alike share a line, whose bytes are of them all.

  Args:
    state: a train state, or its shapes; what is neither a parameter nor a moment of one is left out.
    mesh: the devices.

  Returns:
    for each parameter its shape, dtype, PartitionSpec and bytes a device; dtype, PartitionSpec and bytes a device of
    its two moments together; sums in the last line.
  """
  known = collections.defaultdict(dict)  # Parameter -> "params", "mu", "nu" -> (shape, dtype, spec, bytes).
  for (path, leaf), place in zip(jax.tree.leaves_with_path(state), jax.tree.leaves(tree_shardings(state, mesh))):
    if match := re.fullmatch(r"(?:.*/)?(params|mu|nu)/(.+)", _name(path)):
      size = math.prod(place.shard_shape(leaf.shape)) * leaf.dtype.itemsize
      known[match[2]][match[1]] = (str(leaf.shape), leaf.dtype.name, str(tuple(place.spec)).replace("'", ""), size)
  alike = collections.defaultdict(list)  # (Parameter with its layer left open, what is known of it) -> its layers.
  for name, places in known.items():
    layer = re.match(r"layers/(\d+)", name)
    open_name = re.sub(r"^layers/\d+", "layers/{}", name)
    alike[open_name, *(places[kind] for kind in ("params", "mu", "nu"))].append(layer[1] if layer else "")
  rows, sums = [("parameter", "shape", "dtype", "placed", "bytes", "moments", "placed", "bytes")], [0, 0]
  for (open_name, (*what, size), *of_moments), layers in alike.items():
    name = open_name.format("..".join(dict.fromkeys((layers[0], layers[-1]))))
    sizes = [len(layers) * size, len(layers) * sum(moment[3] for moment in of_moments)]
    sums = [total + size for total, size in zip(sums, sizes)]
    dtypes, specs = (", ".join(dict.fromkeys(moment[k] for moment in of_moments)) for k in (1, 2))
    rows.append((name, *what, f"{sizes[0]:,}", dtypes, specs, f"{sizes[1]:,}"))
  rows.append(("on a device", "", "", "", f"{sums[0]:,}", "", "", f"{sums[1]:,}"))
  columns = [("<<<<><<>"[k], max(map(len, column))) for k, column in enumerate(zip(*rows))]
  lines = ["  ".join(f"{cell:{side}{width}}" for cell, (side, width) in zip(row, columns)) for row in rows]
  return "\n".join([f"mesh {shape_text(mesh)}", *lines])


def shard_attention(attend: Callable, feature_major: bool, mesh: Mesh) -> Callable:
  """Runs attention on each device's own rows and heads, without communication.

  Args:
    attend: `attend(qkv, segment_ids [b, s], table [b, features, s]) -> out`, qkv and out as [tokens, features].
    feature_major: they are [features, tokens] instead.
    mesh: rows lie along `ROW_AXES`, heads along `model`.
  """
  rows = ROW_AXES
  features = PartitionSpec("model", rows) if feature_major else PartitionSpec(rows, "model")
  in_specs = (features, PartitionSpec(rows), PartitionSpec(rows))
  return jax.shard_map(attend, mesh=mesh, in_specs=in_specs, out_specs=features, check_vma=False)


def over_tokens(mesh: Mesh) -> Callable:
  """`over_devices(function, in_cuts, out_cuts) -> function` for functions of each device's own tokens.

  Cuts: 0 for arrays with tokens in rows, 1 for tokens in columns, 2 for arrays that every device has whole.
  """
  specs = (PartitionSpec(ROW_AXES), PartitionSpec(None, ROW_AXES), PartitionSpec())

  def over_devices(function: Callable, in_cuts: Sequence[int], out_cuts: Sequence[int]) -> Callable:
    in_specs, out_specs = (tuple(specs[cut] for cut in cuts) for cuts in (in_cuts, out_cuts))
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)

  return over_devices


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())
