"""How a run goes: the interval's averages, tokens/s, the wait for data, goodput and the time left, as one line."""

import contextlib
import time
from collections.abc import Mapping, Sequence

import numpy as np

from bsm_jax.training.step import CLASSES


class Clock:
  """Seconds of an interval that went into training steps: evaluation, checkpoints and compilation stop the clock.

  Attributes:
    steps: counted since the interval began.
  """

  def __init__(self):
    self.restart()

  def restart(self) -> None:
    """Begins an interval."""
    self.steps, self._seconds, self._waited, self._since = 0, 0.0, 0.0, time.perf_counter()

  @contextlib.contextmanager
  def paused(self):
    self._seconds += time.perf_counter() - self._since
    yield
    self._since = time.perf_counter()

  @contextlib.contextmanager
  def waiting(self):
    """Around what the training waits for: the next batch."""
    start = time.perf_counter()
    yield
    self._waited += time.perf_counter() - start

  def count(self) -> None:
    self.steps += 1

  def seconds(self) -> float:
    return max(self._seconds + time.perf_counter() - self._since, 1e-9)

  def waited_share(self) -> float:
    return self._waited / self.seconds()


class Goodput:
  """The share of the time since a run's first start that went into steps which its parameters still hold.

  Time before the first step of a start, evaluation, checkpoints, steps that a kill took back and the time that the run
  lay still are all lost.
  """

  def __init__(self, lines: Sequence[Mapping]):
    """Args: what `metrics.jsonl` holds of the steps up to the present one."""
    starts = [line["time"] for line in lines if line["kind"] == "start"]
    self._first = min(starts, default=time.time())
    self._useful = sum(line["seconds"] for line in lines if line["kind"] == "train")

  def add(self, seconds: float) -> float:
    """Counts an interval's useful seconds; returns the share so far."""
    self._useful += seconds
    return self._useful / max(time.time() - self._first, self._useful)


def duration(seconds: float) -> str:
  """`3d04h`, `2h07m`, `5m30s` or `12s`."""
  seconds = int(seconds)
  for size, name, smaller, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
    if seconds >= size:
      return f"{seconds // size}{name}{seconds % size // smaller:02d}{small_name}"
  return f"{seconds}s"


def line(step: int, total_steps: int, values: Mapping[str, float | str], seconds_left: float) -> str:
  """An interval as one line.

  Args:
    step: the last one of the interval.
    total_steps: of the run.
    values: what `metrics.jsonl` gets; bits per residue are shown of each row set whose name stands in `train/…/…`.
    seconds_left: until the run's end, at the interval's speed.
  """
  bits = {}
  for name, value in values.items():
    parts = name.split("/")
    if parts[0] == "train" and parts[-1] in CLASSES[1:]:
      bits.setdefault(parts[1], []).append(f"{parts[-1]} {value:.3f}")
  by_row_set = "; ".join(f"{name} {' '.join(of_classes)}" for name, of_classes in bits.items())
  skipped = f", {values['skipped']} steps skipped" if values["skipped"] else ""
  return (
      f"step {step}/{total_steps} {values['round']}: loss {values['loss']:.4f} [{by_row_set}]"
      f" |g| {values['grad_norm']:.3g} lr {values['lr']:.3g}{skipped},"
      f" {values['tokens_per_second_per_device']:,.0f} tokens/s/device, MFU {values['mfu']:.1%},"
      f" waiting for data {values['data_wait_share']:.1%}, goodput {values['goodput']:.1%},"
      f" {duration(seconds_left)} left"
  )


def interval_loss(table: np.ndarray) -> float:
  """Mean loss in nats over all targets of a loss table [row sets, 2, classes]; NaN where nothing was counted."""
  return float(table[:, 0].sum() / table[:, 1].sum()) if table[:, 1].sum() else float("nan")
