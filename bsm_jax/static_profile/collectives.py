"""The communication of a compiled program: kind, bytes, executions, and the mesh axes that it runs over.

The time given for it is a stated model and no part of a `Profile`'s seconds: ring algorithms that use every torus
dimension of the group, both ways, at the links' full bandwidth, one collective after the other and nothing beside them;
between slices, what a device receives over its share of the data centre's network.
"""

import collections
import dataclasses
import math
import re

import numpy as np
from jax.sharding import Mesh

from bsm_jax import hardware
from bsm_jax.static_profile import hlo


@dataclasses.dataclass(frozen=True)
class Collective:
  """All executions of one kind over the same axes.

  Attributes:
    kind: an entry of `hlo.COLLECTIVES`.
    axes: names of the mesh axes that the devices of a group differ in; ("slice",) for the part between slices.
    executions: in one run of the program; pairs of start and done, and pieces spread over several ops, count once.
    bytes: on one device, of all executions: the whole array that is gathered, reduced, scattered or exchanged.
    seconds: by the model above.
  """

  kind: str
  axes: tuple[str, ...]
  executions: int
  bytes: int
  seconds: float


def _numbers(text: str) -> list[int]:
  return [int(n) for n in text.split(",")]


def _iota(text: str) -> np.ndarray:
  """`[2,3]T(1,0)`: the numbers from 0 in this shape, transposed."""
  dims, order = re.fullmatch(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", text).groups()
  dims = _numbers(dims)
  return np.arange(math.prod(dims)).reshape(dims).transpose(_numbers(order) if order else None)


def replica_groups(attributes: str, n_devices: int) -> np.ndarray | None:
  """The groups that an instruction communicates in, as partition numbers [groups, members]; None if it names none.

  Pairs of a `collective-permute` are groups of two. HLO writes groups in three ways: `{{0,1},{2,3}}`,
  `[2,2]<=[2,2]T(1,0)` (an iota, reshaped and transposed), and `mesh['a'=2,'b'=2] {'b'}` (axes of a mesh, `'a':(1)2` for
  a part of one).

  Raises:
    ValueError: written in another way.
  """
  match = re.search(r"(?:replica_groups|source_target_pairs)=(.*)", attributes)
  if not match:
    return None
  text = match[1]
  if text.startswith("{}"):
    return np.arange(n_devices)[None]
  if text.startswith("{{"):
    return np.array([_numbers(group) for group in re.findall(r"\{([\d,]+)\}", text.split("}}")[0] + "}")])
  if iota := re.match(r"\[([\d,]+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", text):
    return _iota(iota[2]).reshape(_numbers(iota[1]))
  if axes := re.match(r"mesh\[([^\]]*)\](?:, device_ids=\((\[[\d,]+\](?:T\([\d,]+\))?)\))? \{([^}]*)\}", text):
    sizes = [(name, int(size)) for name, size in re.findall(r"'([^']+)'=(\d+)", axes[1])]
    # Each axis is split where a part of it is asked for, so that groups are whole axes.
    parts = {name: (int(before), int(size)) for name, before, size in re.findall(r"'([^']+)':\((\d+)\)(\d+)", axes[3])}
    wanted, shape, varying = re.findall(r"'([^']+)'", axes[3]), [], []
    for name, size in sizes:
      before, part = parts.get(name, (1, size))
      varying += [len(shape) + 1] if name in wanted else []
      shape += [before, part, size // before // part]
    fixed = [k for k in range(len(shape)) if k not in varying]
    members = math.prod(shape[k] for k in varying)
    devices = _iota(axes[2]) if axes[2] else np.arange(math.prod(shape))
    return devices.reshape(shape).transpose(fixed + varying).reshape(-1, members)
  raise ValueError(f"groups of devices written in an unknown way: {text[:80]}")


def mesh_axes(groups: np.ndarray, mesh: Mesh) -> tuple[str, ...]:
  """Axes of the mesh in which members of a group differ. A device's number is its place in `mesh.devices.flat`."""
  places = np.stack(np.unravel_index(groups, mesh.devices.shape))  # [axes, groups, members]
  differs = (places != places[..., :1]).any((1, 2))
  return tuple(name for name, differ in zip(mesh.axis_names, differs) if differ)


def _seconds(kind: str, size: int, groups: np.ndarray, mesh: Mesh, chip: hardware.Chip) -> float:
  """Of one execution on `size` bytes a device."""
  members = groups.shape[1]
  devices = [mesh.devices.flat[k] for k in groups[0]]
  # A device sends both ways around a ring along each dimension that the group extends in.
  dimensions = sum(len(set(x)) > 1 for x in zip(*(d.coords for d in devices))) or 1
  bandwidth = 2 * dimensions * chip.ici_link_bandwidth
  if kind in ("collective-permute", "collective-broadcast"):
    return size / bandwidth
  if kind in ("all-to-all", "ragged-all-to-all"):
    # On average a part travels a quarter of the ring.
    return size * members / 4 / bandwidth
  return (2 if kind == "all-reduce" else 1) * size * (members - 1) / members / bandwidth


def _across_slices(instruction: hlo.Instruction) -> str | None:
  """Kind of the collective whose part between slices an instruction receives over the network; else None."""
  match = re.search(r'_xla_host_transfer_rendezvous="([a-z\-]+)', instruction.attributes)
  return match[1] if instruction.opcode == "recv" and "megascale" in instruction.attributes and match else None


def _found(module: hlo.Module, place: hlo.Executed) -> list[tuple[str, hlo.Instruction]]:
  """(kind, instruction) of the collectives that an instruction of the schedule is or holds."""
  instruction = place.instruction
  if instruction.opcode.endswith("-done"):
    return []
  kind = instruction.opcode.removesuffix("-start")
  if kind in hlo.COLLECTIVES:
    return [(kind, instruction)]
  inner = [i for i in module.inner(instruction) if i.opcode in hlo.COLLECTIVES]
  if module.is_collective(instruction):  # An all-reduce of which every device keeps its part.
    return [("reduce-scatter", i) for i in inner]
  return [(i.opcode, i) for i in inner]


def _add(total: list, times: int, size: int, seconds: float) -> None:
  for k, amount in enumerate((1, size, seconds)):
    total[k] += times * amount


def collectives(module: hlo.Module, mesh: Mesh, chip: hardware.Chip) -> list[Collective]:
  """All communication of one run of a module, in order of bytes.

  Args:
    module: compiled for the devices of `mesh`.
    mesh: whose `devices.flat` is the order of the module's partitions; of several slices, which communicate each for
      itself, the first comes first.
    chip: for the model of time.

  Raises:
    ValueError: see `replica_groups`.
  """
  totals = collections.defaultdict(lambda: [0, 0, 0.0])
  seen = set()
  for place in module.executed():
    if kind := _across_slices(place.instruction):
      (size, _), *_ = hlo.array_bytes(place.instruction.shape)
      _add(totals[kind, ("slice",)], place.times, size, size / chip.dcn_bandwidth)
    for kind, instruction in _found(module, place):
      # One collective may be spread over the fusions that it runs beside: its pieces share a chain and a channel.
      piece = re.search(r'channel_id=(\d+).*\bchain_id="(\d+)"', instruction.attributes)
      if piece and (place.computation, kind, *piece.groups()) in seen:
        continue
      if piece:
        seen.add((place.computation, kind, *piece.groups()))
      groups = replica_groups(instruction.attributes, mesh.size)
      groups = np.arange(mesh.size)[None] if groups is None else groups
      size = sum(size for o in instruction.operands for size, _ in hlo.array_bytes(module.instructions[o].shape))
      size *= groups.shape[1] if kind == "all-gather" else 1
      _add(totals[kind, mesh_axes(groups, mesh)], place.times, size, _seconds(kind, size, groups, mesh, chip))
  found = [Collective(kind, axes, *total) for (kind, axes), total in totals.items()]
  return sorted(found, key=lambda c: -c.bytes)
