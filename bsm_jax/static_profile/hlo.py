"""Reads optimised, scheduled HLO text: what is executed, how often, and what it moves.

`compiled.as_text()` lists computations of instructions such as

  %while.1 = (s32[], f32[8,128]{1,0:T(8,128)S(1)}) while(%tuple.3), condition=%cond.2, body=%body.4

in the order in which a TensorCore runs them. A layout's `S(1)` says that the array lies in VMEM, not in HBM.
"""

import dataclasses
import math
import re
import sys
from collections.abc import Iterator

import jax
import numpy as np

COLLECTIVES = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute",
    "collective-broadcast",
)

_COMPUTATION = re.compile(
    r"^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\) -> .*\{\n(?P<body>(?:.*\n)*?)\}.*(?=\n\n|\n?\Z)", re.MULTILINE
)
_COMMENT = re.compile(r"/\*.*?\*/")
_ARRAY = re.compile(r"\b(pred|bf16|[suf]\d+(?:e\w+)?|c64|c128)\[([\d,]*)\](?:\{([^{}]*)\})?")
_BITS = {"pred": 8, "bf16": 16, "c64": 64, "c128": 128}


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of HLO.

  Attributes:
    name, opcode: without the `%`.
    shape: text of the result's shape.
    operands: names, or the text between the brackets of a constant or parameter.
    attributes: everything behind the operands.
    is_root: its result is the computation's.
  """

  name: str
  opcode: str
  shape: str
  operands: tuple[str, ...]
  attributes: str
  is_root: bool

  @property
  def op_name(self) -> str:
    """The JAX operation that it comes from, as a path; empty where the compiler made it."""
    match = re.search(r'op_name="((?:[^"\\]|\\.)*)"', self.attributes)
    return match[1] if match else ""

  @property
  def estimated_cycles(self) -> int | None:
    """XLA's own estimate."""
    match = re.search(r'"estimated_cycles":"(\d+)"', self.attributes)
    return int(match[1]) if match else None

  def called(self, attribute: str) -> str | None:
    """Name of the computation that an attribute (`calls`, `body`, ...) names."""
    match = re.search(rf"\b{attribute}=%([\w.\-]+)", self.attributes)
    return match[1] if match else None


@dataclasses.dataclass(frozen=True)
class Executed:
  """An instruction of the schedule, its computation, how often one run executes it, and trips of its inmost loop."""

  instruction: Instruction
  computation: str
  times: int
  trips: int


def is_kernel(instruction: Instruction) -> bool:
  """A Pallas kernel."""
  return instruction.opcode == "custom-call" and '"tpu_custom_call"' in instruction.attributes


def arrays(shape: str) -> list[tuple[str, tuple[int, ...], bool]]:
  """(element type, dimensions, lies in HBM) of every array of a shape's text."""
  found = []
  for dtype, dims, layout in _ARRAY.findall(shape):
    found.append((dtype, tuple(int(d) for d in dims.split(",") if d), "S(" not in layout))
  return found


def array_bytes(shape: str) -> list[tuple[int, bool]]:
  """(bytes without the padding of tiles, lies in HBM) of every array of a shape's text."""
  bits = lambda dtype: _BITS.get(dtype) or int(re.match(r"[suf](\d+)", dtype)[1])
  return [(math.ceil(math.prod(dims) * bits(dtype) / 8), in_hbm) for dtype, dims, in_hbm in arrays(shape)]


def numpy_type(dtype: str) -> str:
  """NumPy's name of an integer type of HLO."""
  return "uint8" if dtype == "pred" else f"{'u' * (dtype[0] == 'u')}int{dtype[1:]}"


def _closing(text: str, start: int) -> int:
  """Index of the bracket that closes the one at `start`."""
  depth = 0
  for k in range(start, len(text)):
    depth += (text[k] == "(") - (text[k] == ")")
    if not depth:
      return k
  raise ValueError(f"no closing bracket in {text[:80]!r}")


def _parse_instruction(line: str) -> Instruction:
  head, _, rest = line.partition(" = ")
  name = re.fullmatch(r"(ROOT )?%?([\w.\-]+)", head)
  end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
  shape, rest = rest[:end], rest[end:].lstrip()
  bracket = rest.index("(")
  close = _closing(rest, bracket)
  inner = rest[bracket + 1 : close]
  operands = tuple(re.findall(r"%([\w.\-]+)", inner)) or ((inner,) if inner else ())
  return Instruction(name[2], rest[:bracket], shape, operands, rest[close + 1 :], bool(name[1]))


def text_of(compiled: jax.stages.Compiled) -> str:
  """The optimised HLO of a compilation, with its large constants written out."""
  (module,) = compiled.runtime_executable().hlo_modules()
  # The options' class has moved between releases of jaxlib; it always stands beside the module's.
  options = sys.modules[type(module).__module__].HloPrintOptions()
  options.print_large_constants = True
  return module.to_string(options)


class Module:
  """Computations, and all instructions, by name. `warnings`: what had to be assumed about loops and branches."""

  def __init__(self, text: str):
    self.computations: dict[str, dict[str, Instruction]] = {}
    self.instructions: dict[str, Instruction] = {}
    self.entry = ""
    self.warnings: list[str] = []
    for block in _COMPUTATION.finditer(text):
      computation = self.computations.setdefault(block["name"], {})
      self.entry = block["name"] if block["entry"] else self.entry
      # An instruction may go on over several lines: a kernel's metadata is written as it is.
      for line in re.split(r"\n(?=  (?:ROOT )?%?[\w.\-]+ = )", block["body"]):
        instruction = _parse_instruction(_COMMENT.sub("", line.strip()))
        computation[instruction.name] = self.instructions[instruction.name] = instruction

  def executed(self) -> list[Executed]:
    """Every instruction of the entry computation and of the loops, branches and calls in it, in order.

    A fusion is one instruction. All branches of a conditional are counted.
    """
    return list(self._walk(self.entry, 1, 1))

  def _walk(self, computation: str, times: int, inmost: int) -> Iterator[Executed]:
    for instruction in self.computations[computation].values():
      if instruction.opcode == "while":
        trips = self.trip_count(computation, instruction)
        if trips is None:
          self.warnings.append(f"loop {instruction.name} ({instruction.op_name}): unknown trip count, counted once")
          trips = 1
        yield from self._walk(instruction.called("body"), times * trips, trips)
      elif instruction.opcode == "conditional":
        self.warnings.append(f"conditional {instruction.name} ({instruction.op_name}): all its branches are counted")
        for branch in self._branches(instruction):
          yield from self._walk(branch, times, inmost)
      elif instruction.opcode == "call":
        yield from self._walk(instruction.called("to_apply"), times, inmost)
      else:
        yield Executed(instruction, computation, times, inmost)

  def _branches(self, instruction: Instruction) -> list[str]:
    several = re.search(r"branch_computations=\{([^}]*)\}", instruction.attributes)
    if several:
      return re.findall(r"%([\w.\-]+)", several[1])
    return [instruction.called("true_computation"), instruction.called("false_computation")]

  def root(self, computation: str) -> Instruction:
    return next(i for i in self.computations[computation].values() if i.is_root)

  def trip_count(self, computation: str, loop: Instruction) -> int | None:
    """Iterations of a while loop of `computation`: as XLA notes them, or from its counter; None if neither tells.

    The counter is an integer that starts at a constant, grows by a constant, and ends the loop at a constant.
    """
    noted = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
    if noted:
      return int(noted[1])
    condition, body = loop.called("condition"), loop.called("body")
    test = self.root(condition)
    direction = re.search(r"direction=(\w+)", test.attributes)
    if test.opcode != "compare" or not direction or direction[1] not in ("LT", "LE", "GT", "GE", "NE"):
      return None
    initial = self.computations[computation][loop.operands[0]]

    def value(name: str, inside: str) -> tuple[int | None, int | None]:
      """(constant, None), or (None, index in the loop's state) of what is carried along, or (None, None)."""
      instruction = self.computations[inside][name]
      if instruction.opcode in ("copy", "bitcast"):
        return value(instruction.operands[0], inside)
      if instruction.opcode == "constant":
        return (int(instruction.operands[0]), None) if re.fullmatch(r"-?\d+", instruction.operands[0]) else (None, None)
      if instruction.opcode == "get-tuple-element":
        return None, int(re.search(r"index=(\d+)", instruction.attributes)[1])
      return None, None

    def start(index: int) -> int | None:
      return value(initial.operands[index], computation)[0] if initial.opcode == "tuple" else None

    def constant(found: tuple[int | None, int | None]) -> int | None:
      """Also of what the loop carries along unchanged."""
      if found[1] is None:
        return found[0]
      unchanged = value(self.root(body).operands[found[1]], body) == (None, found[1])
      return start(found[1]) if unchanged else None

    left, right = (value(name, condition) for name in test.operands)
    if left[1] is None:
      return None
    step = self.computations[body].get(self.root(body).operands[left[1]])
    if step is None or step.opcode != "add":
      return None
    parts = [value(name, body) for name in step.operands]
    if (None, left[1]) not in parts:
      return None
    parts.remove((None, left[1]))
    begin, end, stride = start(left[1]), constant(right), constant(parts[0])
    if None in (begin, end, stride) or not stride:
      return None
    distance = end - begin + {"LE": stride // abs(stride), "GE": stride // abs(stride)}.get(direction[1], 0)
    return max(0, math.ceil(distance / stride))

  def is_collective(self, instruction: Instruction) -> bool:
    """An op that does nothing but communicate: a collective, or the fusion that stands for a reduce-scatter."""
    opcode = instruction.opcode.removesuffix("-start").removesuffix("-done")
    return opcode in COLLECTIVES or (instruction.called("calls") or "").startswith("all-reduce-scatter")

  def operand_bytes(self, place: Executed) -> int:
    """HBM bytes of an op's operands and results, each counted whole.

    Of an array that stacks the steps of the loop around it, one step's part counts.
    """
    defined = self.computations[place.computation]
    shapes = [place.instruction.shape, *(defined[o].shape for o in place.instruction.operands if o in defined)]
    total = 0
    for shape in shapes:
      for (size, in_hbm), (_, dims, _) in zip(array_bytes(shape), arrays(shape)):
        stacked = place.trips > 1 and len(dims) > 1 and dims[0] == place.trips
        total += in_hbm * (size // place.trips if stacked else size)
    return total

  def inner(self, instruction: Instruction) -> list[Instruction]:
    """Instructions of the computations that a fusion or an asynchronous start calls, to any depth."""
    # `call-start` hands a call to another core of the chip, such as a SparseCore.
    name = instruction.called("to_apply" if instruction.opcode == "call-start" else "calls")
    if name is None:
      return []
    found = []
    for i in self.computations[name].values():
      found += [i, *self.inner(i)]
    return found

  def constant_value(self, computation: str, name: str) -> np.ndarray | None:
    """The contents of an integer array that is a constant of the program, seen through copies; else None."""
    instruction = self.computations[computation].get(name)
    while instruction and instruction.opcode in ("copy", "bitcast", "copy-done", "copy-start", "reshape"):
      name = instruction.operands[0]
      instruction = self.computations[computation].get(name)
    if instruction is None or instruction.opcode != "constant" or "..." in instruction.operands[0]:
      return None
    (dtype, dims, _), *_ = arrays(instruction.shape)
    numbers = [int(n) for n in re.findall(r"-?\d+", instruction.operands[0].replace("true", "1").replace("false", "0"))]
    if dtype[0] not in "sup" or len(numbers) != math.prod(dims):
      return None
    return np.array(numbers).reshape(dims).astype(numpy_type(dtype))
