"""Reads the scheduled VLIW bundles of one op, as libtpu dumps them after register allocation.

The text's form is libtpu's own and nowhere specified; what is relied on:

  0x3b : > { %217 = sbr.rel (%p3116_p4) target bundleno = 129 (0x81), region = 40 ;; %s5_s2 = sadd.s32 1, %s4_s1 }

A bundle issues in one cycle, and delays are written out as empty bundles. `%s5_s2` is a value and the register s2 that
holds it; `(%p3116_p4)` is the predicate that an instruction runs under.
"""

import collections
import dataclasses
import re

# No instructions: another name for what the same register holds.
_RENAMES = ("sphi", "pphi", "int_to_ptr")

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_BUNDLE = re.compile(r"^ *(?:0x[0-9a-f]+|0) +(?:[A-Z]{2})? *: *>* *\{", re.MULTILINE)
_INSTRUCTION = re.compile(
    r"(?:(%[\w\-]+) = )?([a-z_]+)([\w.]*)(?: +\[[a-z]+:\$\w+\])? *(?:\((!?)(%\w+)(?:, (%\w+))?\),?)? *(.*)", re.DOTALL
)
_REGISTER = re.compile(r"%\w+?_([sp]\d+)$")
_TARGET = re.compile(r"bundleno = (\d+)")


@dataclasses.dataclass(eq=False)
class Instruction:
  """`target = opcode.suffix (predicate, otherwise), arguments`. Without the predicate, the target stays `otherwise`."""

  opcode: str
  suffix: str
  target: str | None
  predicate: str | None
  negated: bool
  otherwise: str | None
  arguments: str

  def split(self) -> list[str]:
    """The arguments."""
    return [a.strip() for a in self.arguments.split(",")]

  @property
  def is_dma(self) -> bool:
    return self.opcode == "dma" and "_to_" in self.suffix

  @property
  def branch_target(self) -> int:
    """Number of the bundle that a branch leads to."""
    return int(_TARGET.search(self.arguments)[1])


def register(name: str) -> str:
  """The register of a value; the value's own name where it has none."""
  match = _REGISTER.match(name)
  return match[1] if match else name


def parse(text: str) -> list[list[Instruction]]:
  """The scalar instructions, branches and DMAs of every bundle."""
  # Only a comment tells that what is loaded is the number of the core.
  text = re.sub(r"= sld \[smem:\[[^]]*\]\] (\([^)]*\) )?/\* core id \*/", r"= smov \g<1>[#core]", text)
  bundles = []
  for body in _BUNDLE.split(_COMMENT.sub("", text))[1:]:
    found = []
    for part in body[: body.rfind("}")].split(";;"):
      match = _INSTRUCTION.match(part.strip())
      # Vector instructions (v...) cost their bundle and no more.
      if match and not match[2].startswith("v"):
        target, opcode, suffix, negated, predicate, otherwise, arguments = match.groups()
        found.append(Instruction(opcode, suffix, target, predicate, bool(negated), otherwise, arguments.strip()))
    bundles.append(found)
  return bundles


def relevant(bundles: list[list[Instruction]]) -> list[list[Instruction]]:
  """Keeps what branches, DMAs and stores to SMEM depend on: most scalar work computes vector addresses."""
  defined = collections.defaultdict(list)
  for bundle in bundles:
    for i in bundle:
      if i.target:
        defined[i.target].append(i)
  kept, wanted = set(), [i for bundle in bundles for i in bundle if i.opcode in ("sbr", "sst") or i.is_dma]
  while wanted:
    i = wanted.pop()
    if i in kept:
      continue
    kept.add(i)
    for name in [*re.findall(r"%\w+", i.arguments), i.predicate, i.otherwise]:
      wanted.extend(defined.get(name, ()))
  return [[i for i in bundle if i in kept and i.opcode not in _RENAMES] for bundle in bundles]
