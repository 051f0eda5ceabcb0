"""Figures of a run: bits per residue, tokens/s, MFU; and where they are written."""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from bsm_jax import hardware
from bsm_jax.model import ModelConfig
from bsm_jax.training.step import CLASSES


def peak_flops(device: jax.Device, dtype: str) -> tuple[float, str]:
  """Peak FLOP/s of one device, and where the figure is from.

  Of a chip in `bsm_jax.hardware` the data sheet's; of any other (a CPU) a measured matrix product's, shared by the
  devices that one host's cores stand for.
  """
  chip = hardware.find_chip(device.device_kind)
  if chip is not None:
    return chip.peak_flops, "data sheet"
  size, best = 2048, math.inf
  a = jax.device_put(jnp.ones((size, size), dtype), device)
  product = jax.jit(jnp.matmul)
  for _ in range(4):
    start = time.perf_counter()
    product(a, a).block_until_ready()
    best = min(best, time.perf_counter() - start)
  return 2 * size**3 / best / jax.local_device_count(), f"measured {dtype} matrix product"


def flops_per_token(model: ModelConfig, context: int, *, causal: bool) -> float:
  """Analytic training FLOPs of one token, forward and backward: 6 x matrix parameters + attention.

  Attention's two products cost 12 x layers x heads x head_dim x context a token over the full square; `causal` halves
  that. Packing's segment masks and rematerialisation are not counted.
  """
  attention = 12.0 * model.n_layers * model.n_heads * model.head_dim * context
  return 6.0 * model.matmul_params + attention * (0.5 if causal else 1.0)


def bits_by_class(table: np.ndarray) -> dict[str, float]:
  """Bits per target of each class that occurs, from a loss table [2, len(CLASSES)] (nats, counts)."""
  return {
      name: float(nats / count / math.log(2)) for name, nats, count in zip(CLASSES, table[0], table[1]) if count > 0
  }


def table_metrics(prefix: str, table: np.ndarray) -> dict[str, float]:
  """`prefix/<class>` in bits for each class, `prefix/loss` in nats over all targets; empty for an empty table."""
  if not table[1].sum():
    return {}
  bits = {f"{prefix}/{name}": value for name, value in bits_by_class(table).items()}
  return bits | {f"{prefix}/loss": float(table[0].sum() / table[1].sum())}


class MetricsError(RuntimeError):
  """Metrics that cannot be written as asked; the message names the remedy."""


class MetricsWriter:
  """`metrics.jsonl`, TensorBoard events and, on request, Weights & Biases; only the first host writes."""

  def __init__(
      self,
      workdir: str | os.PathLike,
      lines: Sequence[Mapping],
      *,
      settings: Mapping | None = None,
      wandb_project: str | None = None,
  ):
    """Opens the files.

    Args:
      workdir: the run directory, local or `gs://`.
      lines: those of `metrics.jsonl` to keep; what a killed run wrote after its last checkpoint is not among them.
      settings: the run's config, for Weights & Biases.
      wandb_project: where the run is shown, under the name of its directory; None: nowhere.

    Raises:
      MetricsError: Weights & Biases is asked for and not installed.
    """
    self._writes = jax.process_index() == 0
    if not self._writes:
      return
    from tensorboardX import SummaryWriter  # Slow to import; other hosts do without.

    self._path = epath.Path(workdir) / "metrics.jsonl"
    self._text = "".join(json.dumps(line) + "\n" for line in lines)
    if "://" in str(self._path):
      # Objects of a bucket cannot grow: every write is of the whole, and is seen as a whole or not at all.
      self._file = None
      self._path.write_text(self._text)
    else:
      partial = self._path.with_suffix(".jsonl.tmp")
      partial.write_text(self._text)
      partial.replace(self._path)
      self._file = self._path.open("a")
    kept = max((line["step"] for line in lines), default=0)
    self._events = SummaryWriter(str(epath.Path(workdir) / "tensorboard"), purge_step=kept + 1)
    self._wandb = None
    if wandb_project:
      try:
        import wandb  # Optional.
      except ModuleNotFoundError as error:
        raise MetricsError(f"--wandb_project needs Weights & Biases ({error}): pip install -e '.[wandb]'") from error

      name = epath.Path(workdir).name
      self._wandb = wandb.init(
          project=wandb_project, id=name, name=name, resume="allow", config=dict(settings or {}),
          dir=None if "://" in str(workdir) else str(workdir),
      )  # fmt: skip

  def write(self, step: int, values: Mapping[str, float | str]) -> None:
    """A line of JSON, and scalars of TensorBoard and Weights & Biases; what is no finite number is left out of all."""
    if not self._writes:
      return
    values = {name: value for name, value in values.items() if isinstance(value, str) or math.isfinite(value)}
    line = json.dumps({"step": step, **values}) + "\n"
    if self._file is not None:
      self._file.write(line)
      self._file.flush()
    else:
      self._text += line
      self._path.write_text(self._text)
    numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
    for name, value in numbers.items():
      self._events.add_scalar(name, value, step)
    if self._wandb is not None:
      self._wandb.log(numbers, step=step)

  def close(self) -> None:
    if not self._writes:
      return
    if self._file is not None:
      self._file.close()
    self._events.close()
    if self._wandb is not None:
      self._wandb.finish()


def read_metrics(workdir: str | os.PathLike) -> list[dict]:
  """The lines of `metrics.jsonl`, [] where there is none; a last line cut short by a kill is left out."""
  path = epath.Path(workdir) / "metrics.jsonl"
  if not path.exists():
    return []
  lines = path.read_text().split("\n")
  # Whatever follows the last line end was cut short.
  return [json.loads(line) for line in lines[:-1]]
