"""Progress of a download: one bar for all of it, one for each file under way."""

import contextlib
import sys
import threading
from collections.abc import Iterator

from tqdm import tqdm


class _FileBar:
  """Moves the bar of one file, and that of the whole by as much."""

  def __init__(self, bar: tqdm, whole: tqdm, lock: threading.Lock):
    self._bar, self._whole, self._lock = bar, whole, lock
    self._position = 0

  def at(self, position: int) -> None:
    with self._lock:  # += of two threads on the same bar would lose one
      self._whole.update(position - self._position)
    self._bar.update(position - self._position)
    self._position = position


class Progress:
  """Bars on stderr, none where it is no terminal.

  Args:
    total: bytes of all files, None where unknown.
    shown: whether to draw; None for "on a terminal".
  """

  def __init__(self, total: int | None, shown: bool | None = None):
    self.shown = sys.stderr.isatty() if shown is None else shown
    self._lock = threading.Lock()
    self._whole = self._bar("all files", total, leave=True)

  def _bar(self, name: str, total: int | None, leave: bool) -> tqdm:
    label = name if len(name) <= 40 else f"…{name[-39:]}"
    return tqdm(
        total=total, desc=label, unit="B", unit_scale=True, leave=leave, disable=not self.shown, dynamic_ncols=True
    )

  @contextlib.contextmanager
  def file(self, name: str, size: int | None) -> Iterator[_FileBar]:
    with self._bar(name, size, leave=False) as bar:
      yield _FileBar(bar, self._whole, self._lock)

  def say(self, text: str) -> None:
    """A line on stderr, above the bars."""
    tqdm.write(text, file=sys.stderr)

  def close(self) -> None:
    self._whole.close()
