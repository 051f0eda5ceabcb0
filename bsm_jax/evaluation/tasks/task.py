"""What a task has, for `bsm_jax.evaluation.run` to run it. A new one is a file here and a line in `suites.py`."""

import dataclasses
from typing import Protocol

from bsm_jax.evaluation import dms
from bsm_jax.evaluation.results import Result
from bsm_jax.inference.loaded import Model


class TaskError(ValueError):
  """A task that cannot be run as it was asked for; the message says why, and the remedy."""


@dataclasses.dataclass(frozen=True)
class Settings:
  """What may be chosen for all tasks.

  Attributes:
    reduce: log-likelihood of a sequence: "mean" over its letters (as Evo) or their "sum".
    limit: at most so many variants or sequences of a file, drawn by `seed`; None for all.
    seed: of what is drawn.
    assays: only these of a benchmark; empty for all.
    rules: for rows of assays that are not clean.
    resamples: of the bootstrap.
  """

  reduce: str = "mean"
  limit: int | None = None
  seed: int = 0
  assays: tuple[str, ...] = ()
  rules: dms.Rules = dms.Rules()
  resamples: int = 1000


class Task(Protocol):
  """Attributes: `name`; `version` of the protocol; `kind`, its family; `published`, where the data are to be had.

  A task may also have `draw(result, folder)`, which draws what it found.
  """

  name: str
  version: str
  kind: str
  published: str

  def files(self, data_root: str, settings: Settings) -> list[str]:
    """The data files that are needed, relative to the folder of data, each plain or as `.gz`.

    A file that lists others is read if it is there, and is the only one that is named if it is not.
    """

  def run(self, model: Model, data_root: str, settings: Settings) -> Result:
    """Raises TaskError, or what its data and the model raise, all of them ValueErrors."""
