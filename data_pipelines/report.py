"""Counting what was dropped and why, and the summary tables that commands print."""

import collections
from collections.abc import Iterable, Sequence

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

  def total(self) -> int:
    return self.counts.total()

  def as_dict(self) -> dict[str, dict]:
    """`{reason: {"count": n, "examples": [...]}}`, sorted by reason, for JSON."""
    return {r: {"count": self.counts[r], "examples": self.examples[r]} for r in sorted(self.counts)}


def table(header: Sequence[str], rows: Iterable[Sequence]) -> str:
  """Plain text columns: the first column left-aligned, numbers right-aligned with thousands separators."""
  cells = [list(header)] + [[f"{c:,}" if isinstance(c, int) else str(c) for c in row] for row in rows]
  widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
  lines = ["  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]) for row in cells]
  lines.insert(1, "  ".join("-" * w for w in widths))
  return "\n".join(line.rstrip() for line in lines)
