"""Replays the scheduled bundles of one op.

What a bundle's vector slots compute does not change where control goes, so it is enough to follow the scalar
registers, predicates and scalar memory (SMEM) that branches depend on. The cycles found are those of the schedule:
waits for memory come on top.

Instructions of a bundle read before any of them writes. A taken branch lets the next `DELAY_SLOTS` bundles run.
"""

import collections
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bsm_jax.static_profile import bundles
from bsm_jax.static_profile.bundles import Instruction

DELAY_SLOTS = 4
GRANULE_BYTES = 32  # Unit of a DMA's size.
LANES = 128  # A row of SMEM: arrays there have their last axis padded to it.

_ALLOCATION = re.compile(r"\[#(\w+)(?: \+ (\S+))?\]$")
_SMEM = re.compile(r"\[smem:\[(\S+?)(?: \+ (\S+))?\]\] *(.*)", re.DOTALL)
_HINT = re.compile(r"(?<=\w) \[#.*")  # The allocation that an address is known to lie in.
_OPERAND = re.compile(r"\[shape: .*?index: (\d+), kind: (\w+)")


class ReplayError(ValueError):
  """Bundles that cannot be replayed to their end."""


@dataclasses.dataclass(frozen=True)
class Address:
  """A place in a memory: an allocation or an operand's, and the distance from its beginning (None: not known)."""

  base: str
  offset: int | None


# What a register holds: a 32-bit number, an address, or None for what cannot be known.
Value = int | Address | None


@dataclasses.dataclass(frozen=True)
class UnknownBranch:
  """A branch that depends on data; what it skips was taken as executed, a loop it closes as left after one turn.

  Attributes:
    bundle: its place in the schedule.
    times: how often it was met.
    cycles: issued in all between the branch and its target, which it may have skipped; 0 for a loop.
    loop: it leads backwards.
  """

  bundle: int
  times: int
  cycles: int
  loop: bool


@dataclasses.dataclass(frozen=True)
class Replay:
  """What one execution of an op issues.

  Attributes:
    cycles: bundles issued.
    hbm_bytes: moved between HBM and the core's memories by the op's own DMAs.
    unsized: such DMAs whose size is not known, and not counted.
    counts: executions of each bundle of the schedule.
    unknown: branches that depend on data.
  """

  cycles: int
  hbm_bytes: int
  unsized: int
  counts: np.ndarray
  unknown: tuple[UnknownBranch, ...]


def _signed(x: int) -> int:
  x &= 0xFFFFFFFF
  return x - (1 << 32) if x >> 31 else x


def _unsigned(x: int) -> int:
  return x & 0xFFFFFFFF


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "sadd": lambda a, b: a + b,
    "ssub": lambda a, b: a - b,
    "smul": lambda a, b: a * b,
    "sand": lambda a, b: a & b,
    "sor": lambda a, b: a | b,
    "sxor": lambda a, b: a ^ b,
    "sshll": lambda a, b: a << (b & 31),
    "sshrl": lambda a, b: _unsigned(a) >> (b & 31),
    "sshra": lambda a, b: a >> (b & 31),
    "smin": min,
    "smax": max,
    "smulhi": lambda a, b: (_unsigned(a) * _unsigned(b)) >> 32,
}
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}
_LOGIC: dict[str, Callable[[bool, bool], bool]] = {
    "por": lambda a, b: a or b,
    "pand": lambda a, b: a and b,
    "pnor": lambda a, b: not (a or b),
    "pnand": lambda a, b: not (a and b),
    "pxor": lambda a, b: a != b,
}


def words(array: np.ndarray) -> list[int]:
  """The 32-bit words of an integer array in SMEM.

  Rows are padded to 128 elements. Of narrow types a word holds as many consecutive rows as fit, the first one lowest;
  an array of one axis counts as rows of 128.
  """
  rows = 4 // array.dtype.itemsize
  if array.ndim < 2:
    array = np.pad(array.ravel(), (0, -array.size % LANES)).reshape(-1, LANES)
  pad = [(0, 0)] * (array.ndim - 2) + [(0, -array.shape[-2] % rows), (0, -array.shape[-1] % LANES)]
  bits = 32 // rows
  packed = np.pad(array, pad).astype(np.int64) & ((1 << bits) - 1)
  packed = packed.reshape(*packed.shape[:-2], -1, rows, packed.shape[-1])
  packed = (packed << (bits * np.arange(rows)).reshape(rows, 1)).sum(-2)
  return [_signed(int(word)) for word in packed.ravel()]


class _Core:
  """Scalar registers and SMEM, and the instructions on them."""

  def __init__(self, operands: Mapping[int, np.ndarray], core: int):
    self._core = core
    self.registers: dict[str, Value] = {}
    self.smem: dict[tuple[str, int], Value] = {}
    self.hbm_bytes = 0
    self.unsized = 0
    self._operands = {f"operand {index}": words(array) for index, array in operands.items()}
    for base, contents in self._operands.items():
      self.smem.update({(base, offset): word for offset, word in enumerate(contents)})

  def read(self, text: str) -> Value:
    """A register, a number or an allocation's address."""
    if text.startswith("%"):
      return self.registers.get(bundles.register(text))
    if text.startswith("$"):
      text = text[1:]
    if text == "[#core]":
      return self._core
    if match := _ALLOCATION.match(text):
      return _add(Address(match[1], 0), self.read(match[2]) if match[2] else 0)
    try:
      return int(text, 0)
    except ValueError:
      return {"true": 1, "false": 0}.get(text)

  def holds(self, instruction: Instruction) -> bool | None:
    """Whether its predicate lets an instruction run; None: not known."""
    if instruction.predicate is None:
      return True
    value = self.read(instruction.predicate)
    return None if value is None else bool(value) != instruction.negated

  def _place(self, match: re.Match) -> Value:
    place = self.read(match[1]) if match[1].startswith("%") else Address(match[1].lstrip("#"), 0)
    return _add(place, self.read(match[2]) if match[2] else 0)

  def _forget(self, place: Value) -> None:
    """Something unknown was written near `place`; registers spilled to SMEM are out of its reach."""
    base = place.base if isinstance(place, Address) else None
    for key in [key for key in self.smem if (key[0] == base if base else not key[0].endswith("_spill"))]:
      del self.smem[key]

  def load(self, arguments: str) -> Value:
    place = self._place(_SMEM.match(arguments))
    return self.smem.get((place.base, place.offset)) if isinstance(place, Address) else None

  def store(self, instruction: Instruction, certain: bool) -> None:
    """A store to SMEM; one that may not run (`certain` false) leaves its place unknown."""
    match = _SMEM.match(instruction.arguments)
    place = self._place(match)
    if isinstance(place, Address) and place.offset is not None:
      self.smem[place.base, place.offset] = self.read(match[3].strip()) if certain else None
    else:
      self._forget(place)

  def copy(self, instruction: Instruction, certain: bool) -> None:
    """A DMA. One that may not run (`certain` false) is counted, and leaves nothing known."""
    source, size, destination = instruction.split()[:3]
    granules = self.read(size)
    sides = instruction.suffix.count("hbm")
    if isinstance(granules, int):
      self.hbm_bytes += sides * GRANULE_BYTES * granules
    else:
      self.unsized += sides > 0
    if not instruction.suffix.endswith("to_smem"):
      return
    source, destination = self.read(source), self.read(destination)
    self._forget(destination)
    if certain and isinstance(destination, Address) and isinstance(granules, int) and destination.offset is not None:
      whole = isinstance(source, Address) and source.offset == 0
      contents = self._operands.get(source.base, []) if whole else []
      for k, word in enumerate(contents[: GRANULE_BYTES // 4 * granules]):
        self.smem[destination.base, destination.offset + k] = word

  def compute(self, i: Instruction) -> Value:
    """The result of a scalar instruction."""
    if i.opcode == "sld":
      return self.load(i.arguments)
    if i.opcode == "inlined_call_operand":
      match = _OPERAND.search(i.arguments)
      return Address(f"operand {match[1]}" if match[2] == "input" else f"{match[2]} {match[1]}", 0) if match else None
    arguments = [self.read(_HINT.sub("", a)) for a in i.split()]
    if i.opcode in ("smov", "pmov"):
      return arguments[0]
    if i.opcode == "scalar_lea":
      return _add(*arguments) if len(arguments) == 2 else None
    if i.opcode == "scalar_select":
      return None if arguments[0] is None else arguments[1 if arguments[0] else 2]
    if i.opcode == "pneg":
      return None if arguments[0] is None else int(not arguments[0])
    if len(arguments) != 2 or ".f32" in i.suffix:
      return None
    a, b = arguments
    if i.opcode == "sadd" and (isinstance(a, Address) or isinstance(b, Address)):
      return _add(a, b)
    if i.opcode in ("sshll", "sshrl") and isinstance(a, Address):
      return a  # Only a change of the unit that a DMA counts addresses in.
    if not isinstance(a, int) or not isinstance(b, int):
      return None
    if ".u32" in i.suffix and i.opcode in ("scmp", "smin", "smax"):
      a, b = _unsigned(a), _unsigned(b)
    if i.opcode in _ARITHMETIC:
      return _signed(_ARITHMETIC[i.opcode](a, b))
    if i.opcode == "scmp":
      return int(_COMPARE[i.suffix.split(".")[1]](a, b))
    if i.opcode in _LOGIC:
      return int(_LOGIC[i.opcode](bool(a), bool(b)))
    return None

  def run(self, bundle: Sequence[Instruction]) -> tuple[int | None, bool]:
    """One bundle. Returns the target of the branch it takes, if any, and whether one depends on what is unknown."""
    branch, unknown, writes, stores = None, False, [], []
    for i in bundle:
      holds = self.holds(i)
      if i.opcode == "sbr":
        if holds is None:
          unknown = True
        elif holds:
          branch = i.branch_target
      elif holds is False:
        continue
      elif i.is_dma or i.opcode == "sst":
        stores.append((i, holds is True))
      elif i.target:
        writes.append((bundles.register(i.target), self.compute(i) if holds else None))
    for i, certain in stores:
      (self.copy if i.is_dma else self.store)(i, certain)
    self.registers.update(writes)
    return branch, unknown


def _add(a: Value, b: Value) -> Value:
  """Sum of an address and a number."""
  if isinstance(b, Address):
    a, b = b, a
  if isinstance(a, Address):
    known = isinstance(b, int) and a.offset is not None
    return Address(a.base, a.offset + b if known else None) if not isinstance(b, Address) else None
  return _signed(a + b) if isinstance(a, int) and isinstance(b, int) else None


class Program:
  """The schedule of one op, ready to be replayed with any operands."""

  def __init__(self, text: str):
    """Args: the dump of pass `packed-bundles-post-ra`."""
    self._bundles = bundles.relevant(bundles.parse(text))
    self.size = len(self._bundles)
    # Where the next bundle with something to follow is; those between only cost their cycle.
    self._next = np.empty(self.size + 1, np.int64)
    self._next[self.size] = self.size
    for k in reversed(range(self.size)):
      self._next[k] = k if self._bundles[k] else self._next[k + 1]

  def replay(
      self, operands: Mapping[int, np.ndarray] | None = None, *, core: int = 0, limit: int = 200_000_000
  ) -> Replay:
    """One execution.

    Args:
      operands: contents, by number, of integer operands that control depends on (a Pallas kernel's scalar prefetch), in
        the types that they have on the device (of at most 32 bits).
      core: which of a device's TensorCores; all run the same code, on their shares of the work.
      limit: cycles after which to give up.

    Raises:
      ReplayError: the end is not reached within `limit`.
    """
    state = _Core(operands or {}, core)
    runs: collections.Counter[tuple[int, int]] = collections.Counter()
    unknown: collections.Counter[int] = collections.Counter()
    following = self._next.tolist()
    at = begin = cycles = 0
    while (at := following[at]) < self.size:
      branch, is_unknown = state.run(self._bundles[at])
      unknown[at] += is_unknown
      if branch is None:
        at += 1
        continue
      end = min(at + 1 + DELAY_SLOTS, self.size)
      for k in range(at + 1, end):
        state.run(self._bundles[k])
      runs[begin, end] += 1
      cycles += end - begin
      if cycles > limit:
        raise ReplayError(f"not at its end after {limit} cycles")
      at = begin = branch
    runs[begin, self.size] += 1
    edges = np.zeros(self.size + 1, np.int64)
    for (begin, end), times in runs.items():
      edges[begin] += times
      edges[end] -= times
    counts = np.cumsum(edges)[:-1]
    branches = tuple(self._unknown_branch(k, times, counts) for k, times in unknown.items() if times)
    return Replay(int(counts.sum()), state.hbm_bytes, state.unsized, counts, branches)

  def _unknown_branch(self, bundle: int, times: int, counts: np.ndarray) -> UnknownBranch:
    branch = next(i for i in self._bundles[bundle] if i.opcode == "sbr")
    skipped = counts[bundle + 1 + DELAY_SLOTS : branch.branch_target]
    return UnknownBranch(bundle, times, int(skipped.sum()), branch.branch_target <= bundle)
