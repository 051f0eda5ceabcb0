"""Figures of a run: bits per residue, tokens/s, MFU; and where they are written."""

import json
import math
import os
import time
from collections.abc import Mapping

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


class MetricsWriter:
  """`metrics.jsonl` and TensorBoard events of a run directory; only the first host writes."""

  def __init__(self, workdir: str | os.PathLike, *, start_step: int):
    """Opens the files; lines beyond `start_step` are dropped: a killed run wrote them after its last checkpoint."""
    self._lines = None
    if jax.process_index() != 0:
      return
    from tensorboardX import SummaryWriter  # Slow to import; other hosts do without.

    self._path = epath.Path(workdir) / "metrics.jsonl"
    kept = [line for line in read_metrics(workdir) if line["step"] <= start_step]
    partial = self._path.with_suffix(".jsonl.tmp")
    partial.write_text("".join(json.dumps(line) + "\n" for line in kept))
    partial.replace(self._path)
    self._lines = self._path.open("a")
    self._events = SummaryWriter(str(epath.Path(workdir) / "tensorboard"), purge_step=start_step + 1)

  def write(self, step: int, values: Mapping[str, float | str]) -> None:
    """One line of JSON, and every number as a TensorBoard scalar."""
    if self._lines is None:
      return
    self._lines.write(json.dumps({"step": step, **values}) + "\n")
    self._lines.flush()
    for name, value in values.items():
      if not isinstance(value, str):
        self._events.add_scalar(name, value, step)

  def close(self) -> None:
    if self._lines is not None:
      self._lines.close()
      self._events.close()


def read_metrics(workdir: str | os.PathLike) -> list[dict]:
  """The lines of `metrics.jsonl`, [] where there is none; a last line cut short by a kill is left out."""
  path = epath.Path(workdir) / "metrics.jsonl"
  if not path.exists():
    return []
  lines = path.read_text().split("\n")
  # Whatever follows the last line end was cut short.
  return [json.loads(line) for line in lines[:-1]]
