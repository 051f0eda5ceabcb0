"""A static estimate of what a program costs on a TPU, from the compiler's own schedule.

An op takes the larger of two times: the cycles of its replayed bundles (`replay`), and the bytes that it moves to and
from HBM over HBM's bandwidth. Copies that the compiler runs beside other ops take the bandwidth that those leave; where
the program waits for one, the wait counts. What is not modelled: latencies of memory, the interconnect, the host. It
ranks variants of a program and finds what bounds it; it is no measurement.
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from bsm_jax import hardware, topology
from bsm_jax.static_profile import hlo
from bsm_jax.static_profile.replay import Program, Replay, ReplayError

_BUNDLES, _SLOTS, _MAP = "packed-bundles-post-ra", "pre-delay_hlo-static-per-bundle-utilization", "deduplication-map"
_DUMP = re.compile(rf"\d+-(.+)-\d+-({_BUNDLES}|{_SLOTS}|{_MAP})\.txt$")


@dataclasses.dataclass(frozen=True)
class Memory:
  """HBM of one device, in bytes. Aliased bytes are both arguments and outputs (donated buffers)."""

  arguments: int
  outputs: int
  temporaries: int
  code: int
  aliased: int

  @property
  def total(self) -> int:
    return self.arguments + self.outputs + self.temporaries + self.code - self.aliased


@dataclasses.dataclass(frozen=True)
class OpCost:
  """One op of the schedule.

  Attributes:
    name, opcode: of HLO.
    op_name: path of the JAX operation.
    times: executions in one run of the program.
    cycles: issued by one execution.
    hbm_bytes: moved by one execution.
    seconds_issue, seconds: of all executions; `seconds` with HBM.
    is_kernel: a Pallas kernel.
    is_replayed: `cycles` are from its bundles; else XLA's estimate, or 0 where there is none.
    slots: of kernels, the share of each kind of issue slot that is used (MXU, VALU, ...).
  """

  name: str
  opcode: str
  op_name: str
  times: int
  cycles: int = 0
  hbm_bytes: int = 0
  seconds_issue: float = 0.0
  seconds: float = 0.0
  is_kernel: bool = False
  is_replayed: bool = False
  slots: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Profile:
  """A static estimate; never a measurement.

  Attributes:
    chip: what it is for.
    seconds_issue: if memory never made the core wait.
    seconds: with HBM's bandwidth. The interconnect is in neither.
    hbm_bytes: moved to and from HBM by one device.
    ops: in the order of their cost.
    kernels: cycles of each Pallas kernel, over all its executions.
    memory: HBM of one device.
    compile_seconds: here.
    warnings: what had to be assumed.
  """

  chip: hardware.Chip
  seconds_issue: float
  seconds: float
  hbm_bytes: int
  ops: tuple[OpCost, ...]
  kernels: dict[str, int]
  memory: Memory
  compile_seconds: float
  warnings: tuple[str, ...]


def memory_of(compiled: jax.stages.Compiled) -> Memory:
  """What the compiler laid out for one device."""
  m = compiled.memory_analysis()
  return Memory(
      m.argument_size_in_bytes, m.output_size_in_bytes, m.temp_size_in_bytes, m.generated_code_size_in_bytes,
      m.alias_size_in_bytes,
  )


def kernel_name(op: str) -> str:
  """A kernel's name without the number that makes it unique."""
  return re.sub(r"\.\d+$", "", op)


class Schedule:
  """What libtpu wrote about the ops of one compilation, by the name of the op."""

  def __init__(self, folder: pathlib.Path):
    self._files: dict[tuple[str, str], pathlib.Path] = {}
    self._same_code: dict[str, str] = {}
    self._programs: dict[str, Program] = {}
    # Names begin with a time. An op may be compiled several times until its code fits; the last one counts.
    for file in sorted(folder.iterdir()):
      match = _DUMP.match(file.name)
      if match and match[2] == _MAP:
        self._read_map(file.read_text())
      elif match:
        self._files[match[1], match[2]] = file

  def _read_map(self, text: str) -> None:
    """Ops of equal code are written once, under the first one's name."""
    for block in text.split("key:")[1:]:
      key, *lines = block.splitlines()
      self._same_code.update({line.strip(): key for line in lines if line.startswith("  ")})

  def __contains__(self, op: str) -> bool:
    return (self._same_code.get(op, op), _BUNDLES) in self._files

  def __len__(self) -> int:
    return len(self._files)

  def program(self, op: str) -> Program:
    key = self._same_code.get(op, op)
    if key not in self._programs:
      self._programs[key] = Program(self._files[key, _BUNDLES].read_text())
    return self._programs[key]

  def slot_use(self, op: str, replay: Replay) -> dict[str, float]:
    """How much of each kind of issue slot an execution uses, as a share of what its cycles offer."""
    header, _, rows = self._files[self._same_code.get(op, op), _SLOTS].read_text().partition("== UTILIZATION:")
    _, names, capacity = header.strip().splitlines()
    offered = replay.cycles * np.array(capacity.split(), float)
    used = replay.counts @ np.array(rows.split(), float).reshape(len(replay.counts), -1)
    return {name.strip(): float(share) for name, share in zip(names.split(","), used / offered)}


class _Hbm:
  """HBM's time: an op's own transfers come first, copies in the background take what they leave, in turn."""

  def __init__(self, bandwidth: float):
    self._bandwidth = bandwidth
    self._queue: dict[str, float] = {}  # Seconds that each background copy still needs.

  def op(self, seconds_issue: float, moved: int) -> float:
    """Seconds of an op that issues for `seconds_issue` and moves `moved` bytes."""
    own = moved / self._bandwidth
    idle = max(0.0, seconds_issue - own)
    for name in list(self._queue):
      done = min(idle, self._queue[name])
      idle -= done
      self._queue[name] -= done
    return max(seconds_issue, own)

  def start(self, name: str, moved: int) -> None:
    self._queue[name] = moved / self._bandwidth

  def wait(self, name: str) -> float:
    """Seconds until a copy, and all that were started before it, are done."""
    seconds = 0.0
    while name in self._queue:
      seconds += self._queue.pop(next(iter(self._queue)))
    return seconds


def _background_bytes(start: hlo.Instruction) -> int:
  """HBM traffic of `copy-start` or `slice-start`, whose shape holds both sides and a semaphore."""
  sides = [(shape_bytes, in_hbm) for shape_bytes, in_hbm in hlo.array_bytes(start.shape)][:2]
  # Of a slice's source only as much is read as is written.
  return min(size for size, _ in sides) * sum(in_hbm for _, in_hbm in sides)


def _scalar_operands(
    module: hlo.Module, place: hlo.Executed, scalars: Mapping[str, Sequence[np.ndarray]]
) -> dict[int, np.ndarray]:
  """Integer operands of a kernel whose contents are known: given by the caller, or constants of the program."""
  instruction = place.instruction
  given = scalars.get(kernel_name(instruction.name), ())
  known = {}
  for k, name in enumerate(instruction.operands):
    if k < len(given):
      (dtype, dims, _), *_ = hlo.arrays(module.computations[place.computation][name].shape)
      if np.shape(given[k]) != dims:
        raise ValueError(f"scalars[{instruction.name!r}][{k}] has shape {np.shape(given[k])}, the kernel's is {dims}")
      known[k] = np.asarray(given[k]).astype(hlo.numpy_type(dtype))
    else:
      value = module.constant_value(place.computation, name)
      if value is not None:
        known[k] = value
  return known


def estimate(
    module: hlo.Module,
    schedule: Schedule | None,
    chip: hardware.Chip,
    memory: Memory,
    *,
    compile_seconds: float = 0.0,
    scalars: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> Profile:
  """Costs of a module.

  Args:
    module: its HLO.
    schedule: None takes XLA's `estimated_cycles` for every op, which knows nothing of Pallas kernels.
    chip: what it was compiled for.
    memory: taken over into the profile, like `compile_seconds`.
    compile_seconds: see `Profile`.
    scalars: see `bsm_jax.static_profile.profile`.
  """
  scalars = scalars or {}
  hbm, ops = _Hbm(chip.hbm_bandwidth), []
  # Text -> executions concerned: unrolled layers say the same of each.
  assumed: collections.Counter[str] = collections.Counter()
  for place in module.executed():
    i = place.instruction
    cost = OpCost(i.name, i.opcode, i.op_name, place.times, is_kernel=hlo.is_kernel(i))
    if i.opcode in ("copy-start", "slice-start"):
      cost = dataclasses.replace(cost, hbm_bytes=_background_bytes(i))
      hbm.start(i.name, cost.hbm_bytes)
      seconds = 0.0
    elif i.opcode in ("copy-done", "slice-done"):
      seconds = hbm.wait(i.operands[0])
    elif module.is_collective(i):
      continue
    else:
      if schedule and i.name in schedule:
        cost = _replayed(cost, module, schedule, place, chip, scalars, assumed)
      if not cost.is_replayed and (i.estimated_cycles or cost.is_kernel):
        cost = dataclasses.replace(cost, cycles=i.estimated_cycles or 0, hbm_bytes=module.operand_bytes(place))
        if not cost.cycles:
          assumed[f"{_title(i)}: a kernel without an estimate; only its HBM bytes count"] += place.times
      seconds = hbm.op(cost.cycles / chip.clock, cost.hbm_bytes)
    if seconds or cost.hbm_bytes:
      issue = place.times * cost.cycles / chip.clock
      ops.append(dataclasses.replace(cost, seconds_issue=issue, seconds=place.times * seconds))
  kernels = collections.Counter()
  for op in ops:
    if op.is_kernel:
      kernels[kernel_name(op.name)] += op.times * op.cycles
  unused = set(scalars) - set(kernels)
  warnings = [*module.warnings, *(f"{text} (x{times})" for text, times in assumed.items())]
  warnings += [f"scalars were given for {name!r}, but there is no such kernel" for name in unused]
  return Profile(
      chip=chip,
      seconds_issue=sum(op.seconds_issue for op in ops),
      seconds=sum(op.seconds for op in ops),
      hbm_bytes=sum(op.times * op.hbm_bytes for op in ops),
      ops=tuple(sorted(ops, key=lambda op: -op.seconds)),
      kernels=dict(kernels),
      memory=memory,
      compile_seconds=compile_seconds,
      warnings=tuple(warnings),
  )


def _replayed(
    cost: OpCost,
    module: hlo.Module,
    schedule: Schedule,
    place: hlo.Executed,
    chip: hardware.Chip,
    scalars: Mapping[str, Sequence[np.ndarray]],
    assumed: collections.Counter[str],
) -> OpCost:
  """`cost` with what the op's bundles say, and `assumed` with what had to be; unchanged where replay fails."""
  i = place.instruction
  operands = _scalar_operands(module, place, scalars) if cost.is_kernel else {}
  program = schedule.program(i.name)
  try:
    replays = [program.replay(operands, core=core) for core in range(chip.cores)]
  except ReplayError as error:
    assumed[f"{_title(i)}: {error}; XLA's estimate is used"] += place.times
    return cost
  slowest = max(replays, key=lambda r: r.cycles)
  # Branches of what communicates depend on the device's place, and cost next to nothing.
  if slowest.unknown and not any(inner.opcode in hlo.COLLECTIVES for inner in module.inner(i)):
    assumed[f"{_title(i)}: {_assumptions(slowest)}"] += place.times
  moved = sum(r.hbm_bytes for r in replays)
  return dataclasses.replace(
      cost,
      cycles=slowest.cycles,
      hbm_bytes=max(moved, module.operand_bytes(place)) if any(r.unsized for r in replays) else moved,
      is_replayed=True,
      slots=schedule.slot_use(i.name, slowest) if cost.is_kernel else {},
  )


def _title(instruction: hlo.Instruction) -> str:
  return f"{kernel_name(instruction.name)} ({instruction.op_name or instruction.opcode})"


def _assumptions(replay: Replay) -> str:
  """What had to be assumed about the branches on data of one execution."""
  parts = []
  skippable = [branch for branch in replay.unknown if not branch.loop]
  if skippable:
    # One of them may skip another: their cycles do not add up.
    cycles = ", ".join(f"{branch.cycles} at bundle {branch.bundle:#x}" for branch in skippable)
    parts.append(f"branches on data counted as executed, of {replay.cycles} cycles {cycles}")
  loops = len(replay.unknown) - len(skippable)
  if loops:
    parts.append(f"{loops} loops whose turns depend on data counted as one turn")
  return "; ".join(parts)


def profile_capture(
    capture: topology.Capture,
    chip: hardware.Chip,
    *,
    replay: bool = True,
    scalars: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> Profile:
  """The profile of a compilation.

  Args:
    capture: see `bsm_jax.topology.captured`; called inside its `with`.
    chip: what it was compiled for.
    replay: False takes XLA's estimates instead of the bundles.
    scalars: see `bsm_jax.static_profile.profile`.

  Raises:
    RuntimeError: libtpu wrote nothing to replay.
  """
  schedule = Schedule(capture.folder) if replay else None
  if replay and not len(schedule):
    raise RuntimeError(
        "libtpu wrote no schedule: it was loaded before bsm_jax.topology could ask for it. Get devices from"
        " bsm_jax.topology.devices, before anything else compiles for a TPU in this process"
    )
  module, memory = hlo.Module(hlo.text_of(capture.compiled)), memory_of(capture.compiled)
  return estimate(module, schedule, chip, memory, compile_seconds=capture.seconds, scalars=scalars)
