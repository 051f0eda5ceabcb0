"""Counting what was dropped and why, and the summary tables that commands print."""

import collections
from collections.abc import Iterable, Mapping, Sequence

EXAMPLES = 5


class Tally:
  """Counts by reason, each with its first few examples."""

  def __init__(self):
    self.counts: collections.Counter[str] = collections.Counter()
    self.examples: dict[str, list[str]] = {}

  def add(self, reason: str, example: str = "", count: int = 1) -> None:
    """Counts `count` more of `reason`; `example` names the record."""
    self.counts[reason] += count
    kept = self.examples.setdefault(reason, [])
    if example and len(kept) < EXAMPLES:
      kept.append(example)

  def merge(self, counted: Mapping[str, Mapping]) -> None:
    """Adds what another tally's `as_dict` gave."""
    for reason, found in counted.items():
      self.add(reason, count=found["count"])
      self.examples[reason] = (self.examples[reason] + found["examples"])[:EXAMPLES]

  def total(self) -> int:
    return self.counts.total()

  def as_dict(self) -> dict[str, dict]:
    """`{reason: {"count": n, "examples": [...]}}`, sorted by reason, for JSON."""
    return {r: {"count": self.counts[r], "examples": self.examples[r]} for r in sorted(self.counts)}


def table(header: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
  """Plain text columns: text left-aligned, numbers right-aligned with thousands separators."""
  rows = [list(row) for row in rows]
  cells = [list(header)] + [[f"{c:,}" if isinstance(c, int) else c for c in row] for row in rows]
  aligned = []
  for i, column in enumerate(zip(*cells)):
    width = max(map(len, column))
    is_text = any(isinstance(row[i], str) and not row[i].endswith("%") for row in rows)
    aligned.append([c.ljust(width) if is_text else c.rjust(width) for c in column] + ["-" * width])
  lines = ["  ".join(line).rstrip() for line in zip(*aligned)]
  return "\n".join([lines[0], lines[-1], *lines[1:-1]])
