"""Rounds of training: token budgets become steps, a learning rate for every step, and row counts for the input."""

import bisect
import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from bsm_jax.input.mixture import RoundRows


@dataclasses.dataclass(frozen=True)
class Round:
  """One round, as the config states it.

  Attributes:
    name: as logs and figures call it.
    tokens: budget; the round has ceil(tokens / (batch_size * context)) steps.
    weights: row set name to weight, by tokens.
    lr_start, lr_end: learning rate at the round's first step and after its last, linear between.
    warmup_tokens: the learning rate rises linearly from zero over this part of the budget.
  """

  name: str
  tokens: float
  weights: Mapping[str, float]
  lr_start: float
  lr_end: float
  warmup_tokens: float = 0.0


class Schedule:
  """The rounds laid end to end on the axis of steps.

  Attributes:
    rounds: as given.
    steps: number of steps of each round.
    starts: first step of each round, and the end of the last.
  """

  def __init__(self, rounds: Sequence[Round], *, batch_size: int, context: int):
    """Args: the rounds in order; rows in a global batch; tokens in a row.

    Raises:
      ValueError: no rounds, or a round without tokens.
    """
    if not rounds:
      raise ValueError("a run needs at least one round")
    for r in rounds:
      if r.tokens <= 0 or not 0 <= r.warmup_tokens < r.tokens:
        raise ValueError(f"round {r.name!r}: tokens must be positive and warmup_tokens below them")
    self.rounds = tuple(rounds)
    self.batch_size = batch_size
    self.tokens_per_step = batch_size * context
    self.steps = [math.ceil(r.tokens / self.tokens_per_step) for r in rounds]
    self.starts = [0, *itertools.accumulate(self.steps)]

  @property
  def total_steps(self) -> int:
    return self.starts[-1]

  @property
  def row_sets(self) -> tuple[str, ...]:
    """Every row set of the run, in the order in which the rounds first name them; `batch["row_set"]` numbers these."""
    return tuple(dict.fromkeys(name for r in self.rounds for name in r.weights))

  def round_number(self, step: int) -> int:
    """Index of the round that step `step` (0-based) belongs to; the last round's after the end."""
    return min(bisect.bisect_right(self.starts, step), len(self.rounds)) - 1

  def rows(self) -> list[RoundRows]:
    """What the input draws: whole batches in every round."""
    return [RoundRows(n * self.batch_size, r.weights) for n, r in zip(self.steps, self.rounds)]

  def learning_rate(self, step: jax.Array | int) -> jax.Array:
    """fp32 learning rate of step `step` (0-based), traceable."""
    step = jnp.asarray(step, jnp.int32)
    number = jnp.searchsorted(jnp.array(self.starts[1:-1], jnp.int32), step, side="right")
    table = lambda values: jnp.array(values, jnp.float32)[number]
    into = (step - jnp.array(self.starts[:-1], jnp.int32)[number]).astype(jnp.float32)
    lr_start, lr_end = table([r.lr_start for r in self.rounds]), table([r.lr_end for r in self.rounds])
    steady = lr_start + (lr_end - lr_start) * jnp.minimum(into / table(self.steps), 1.0)
    warmup = table([math.ceil(r.warmup_tokens / self.tokens_per_step) for r in self.rounds])
    return steady * jnp.minimum((into + 1.0) / jnp.maximum(warmup, 1.0), 1.0)

  def describe(self) -> str:
    """A line for each round."""
    lines = []
    for r, steps in zip(self.rounds, self.steps):
      share = sum(r.weights.values())
      mixture = " ".join(f"{name}:{weight / share:.3g}" for name, weight in r.weights.items())
      lines.append(
          f"round {r.name}: {steps:,} steps, {steps * self.tokens_per_step:,} tokens,"
          f" lr {r.lr_start:g} -> {r.lr_end:g}, mixture {mixture}"
      )
    return "\n".join(lines)
