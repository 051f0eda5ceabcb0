"""The train step beside PyTorch's of the same model: same weights, batch, dtype and cores, in turns; run by hand.

  python -m tests.benchmarks.train_step                                      # miniature, and 110M cut to two layers
  python -m tests.benchmarks.train_step --shapes=110m,270m --device=gpu --dtype=bfloat16 --compile
  JAX_NUM_CPU_DEVICES=2 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false python -m tests.benchmarks.train_step

Ours is `bsm_jax.train`'s own step, over all of JAX's devices; PyTorch's is `tests.benchmarks.torch_decoder`. Before
anything is timed, both take the same first steps and have to report the same losses, else the comparison is void. A
turn times a few steps of each; printed are the median seconds of a step (wall clock, and processor time of all cores),
and the ratio ours / PyTorch's of the same turn: median, least and greatest. PyTorch is given rotary tables, targets and
the mask for free; ours derives them from the tokens in each step.

On a machine that others use, PyTorch's threads spin while they wait for one another, which flatters us: set
OMP_WAIT_POLICY=passive, or compare on one core (--threads=1).
"""

import dataclasses
import json
import os
import pathlib
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
from absl import app, flags
from ml_collections import ConfigDict

from bsm_jax import sharding, tokenizer
from bsm_jax.input import segments
from bsm_jax.training import metrics
from bsm_jax.training import program as program_lib
from bsm_jax.training.step import OptimizerConfig
from configs import bsm_110m, bsm_270m, miniature
from data_pipelines import pack
from tests.bsm_jax.sample_rows import batch_of_rows

LEARNING_RATE = 1e-4
# Settings that change what is measured.
_ENVIRONMENT = (
    "XLA_FLAGS", "JAX_NUM_CPU_DEVICES", "OMP_WAIT_POLICY", "MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_",
    "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_",
)  # fmt: skip
CHECKED_STEPS = 3
# Of losses, relative: both sum in fp32, in different orders; in bf16 they also round in different places.
TOLERANCE = {"float32": 2e-5, "bfloat16": 1e-2}


@dataclasses.dataclass(frozen=True)
class Shape:
  """A model of `configs`, and a batch for it."""

  config: Callable[[], ConfigDict]
  batch: int
  context: int
  layers: int | None = None


SHAPES = {
    "miniature": Shape(miniature.get_config, batch=4, context=256),
    "110m_2_layers": Shape(bsm_110m.get_config, batch=2, context=1024, layers=2),
    "110m": Shape(bsm_110m.get_config, batch=32, context=1024),
    "270m": Shape(bsm_270m.get_config, batch=16, context=1024),
}


def make_config(shape: Shape, dtype: str, *, across_documents: bool, remat: str) -> ConfigDict:
  """The shape's config with one endless round at a constant learning rate."""
  config = shape.config()
  config.model.dtype, config.model.remat = dtype, remat
  if shape.layers is not None:
    config.model.n_layers = shape.layers
  config.data.batch_size, config.data.context = shape.batch, shape.context
  config.data.attend_across_documents = across_documents
  config.rounds = ConfigDict({
      "only": {"tokens": 1e12, "weights": {"random": 1.0}, "lr_start": LEARNING_RATE, "lr_end": LEARNING_RATE,
               "warmup_tokens": 0.0},
  })
  return config


def random_rows(batch: int, context: int, seed: int = 0) -> np.ndarray:
  """uint8 [batch, context]: DNA of 20 letters up to the context, log-uniform, packed as a build packs it."""
  rng = np.random.default_rng(seed)

  def documents():
    while True:
      length = int(np.exp(rng.uniform(np.log(20), np.log(context - 4))))
      yield tokenizer.encode_document([(tokenizer.Modality.DNA, "".join(rng.choice(list("acgt"), length)))])

  rows = pack.pack(documents(), context, open_rows=8)
  return np.stack([np.frombuffer(next(rows), np.uint8) for _ in range(batch)])


def what_follows(tokens: np.ndarray, *, across_documents: bool) -> dict[str, np.ndarray | None]:
  """What our step derives from the tokens, for `torch_decoder.Trainer`."""
  targets, counts = segments.next_tokens(tokens)
  if across_documents:
    ids, positions = None, np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
  else:
    ids, positions = np.array(segments.segment_ids(tokens)), np.array(segments.positions(tokens))
  return {
      "tokens": tokens, "targets": np.array(targets), "counts": np.array(counts), "segment_ids": ids,
      "positions": positions,
  }  # fmt: skip


class Ours:
  """`bsm_jax.train`'s step on one batch."""

  def __init__(self, config: ConfigDict, tokens: np.ndarray):
    mesh = sharding.make_mesh((config.mesh.data, config.mesh.fsdp, config.mesh.model))
    self.program = program_lib.make_program(config, mesh)
    self._state = self.program.init()
    self._batch = jax.device_put(batch_of_rows(tokens), self.program.batch_sharding)

  @property
  def params(self) -> dict:
    return jax.device_get(self._state["params"])

  def step(self) -> jax.Array:
    """One train step on the batch; the loss before it, on the device."""
    self._state, of_step = self.program.train_step(self._state, self._batch)
    return of_step["loss"]

  def synchronize(self) -> None:
    jax.block_until_ready(self._state)


def measure(side, steps: int) -> dict[str, float]:
  """Seconds of a step: wall clock, and processor time of all threads."""
  side.synchronize()
  start = time.perf_counter(), time.process_time()
  for _ in range(steps):
    side.step()
  side.synchronize()
  return {"wall": (time.perf_counter() - start[0]) / steps, "processor": (time.process_time() - start[1]) / steps}


def check_losses(ours: list[float], theirs: list[float], dtype: str) -> None:
  """Raises RuntimeError if the losses of the first steps differ."""
  if not np.allclose(ours, theirs, rtol=TOLERANCE[dtype], atol=0):
    raise RuntimeError(f"not the same computation, so nothing to compare: losses {ours}, and PyTorch's {theirs}")


def compare(ours, theirs, *, turns: int, seconds: float) -> dict:
  """Times both in turns of some `seconds` each, after two turns that do not count."""
  sides = {"ours": ours, "torch": theirs}
  steps = {name: max(1, round(seconds / measure(side, 2)["wall"])) for name, side in sides.items()}
  found = {"ours": [], "torch": []}
  for turn in range(turns + 2):
    # Who begins changes, as what one leaves behind in caches and clocks may suit the other.
    for name, side in (("ours", ours), ("torch", theirs))[:: 1 if turn % 2 else -1]:
      found[name].append(measure(side, steps[name]))
  found = {name: values[2:] for name, values in found.items()}
  result = {"turns": turns, "steps_a_turn": steps}
  for clock in ("wall", "processor"):
    seconds_of = {name: [value[clock] for value in values] for name, values in found.items()}
    ratios = [a / b for a, b in zip(seconds_of["ours"], seconds_of["torch"])]
    result[clock] = {
        "ours_s": statistics.median(seconds_of["ours"]), "torch_s": statistics.median(seconds_of["torch"]),
        "ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios),
    }  # fmt: skip
  return result


def _run(name: str, values: flags.FlagValues) -> dict:
  from tests.benchmarks import torch_decoder  # PyTorch is no dependency of ours; the rest of this file does without.

  changes = {key: values[key].value for key in ("batch", "context", "layers") if values[key].value is not None}
  shape = dataclasses.replace(SHAPES[name], **changes)
  config = make_config(shape, values.dtype, across_documents=values.across_documents, remat=values.remat)
  tokens = random_rows(shape.batch, shape.context)
  ours = Ours(config, tokens)
  theirs = torch_decoder.Trainer(
      ours.program.model, OptimizerConfig(**config.optimizer.to_dict()), LEARNING_RATE, ours.params,
      what_follows(tokens, across_documents=values.across_documents),
      device="cuda" if values.device == "gpu" else "cpu", compiled=values.compile,
  )  # fmt: skip
  losses = [[float(side.step()) for _ in range(CHECKED_STEPS)] for side in (ours, theirs)]
  check_losses(*losses, values.dtype)
  result = {"shape": name, "batch": shape.batch, "context": shape.context, "layers": ours.program.model.n_layers}
  result |= {"dtype": values.dtype, "losses": losses[0], "torch_losses": losses[1]}
  result |= compare(ours, theirs, turns=values.turns, seconds=values.seconds)
  peak, result["peak_source"] = metrics.peak_flops(jax.devices()[0], values.dtype)
  peak *= jax.device_count()
  flops = metrics.flops_per_token(ours.program.model, shape.context, causal=True)
  print(f"\n{name}: {shape.batch} rows of {shape.context}, {ours.program.model.n_layers} layers, {values.dtype}")
  for side in ("ours", "torch"):
    rate = shape.batch * shape.context / result["wall"][f"{side}_s"]
    result[side] = {"tokens_per_s": rate, "mfu": rate * flops / peak}
    print(
        f"  {side:<6} {1e3 * result['wall'][f'{side}_s']:9.2f} ms a step ({1e3 * result['processor'][f'{side}_s']:9.2f}"
        f" of processors)  {rate:11,.0f} tokens/s   MFU {rate * flops / peak:6.1%} ({result['peak_source']})"
    )
  for clock in ("wall", "processor"):
    r = result[clock]
    print(f"  ratio  {r['ratio']:.3f} ({r['ratio_min']:.3f}-{r['ratio_max']:.3f})  {clock}, {values.turns} turns")
  return result


def main(argv: list[str]) -> None:
  del argv
  values = flags.FLAGS
  if values.device == "cpu":
    jax.config.update("jax_platforms", "cpu")
    if values.threads:
      # XLA's thread pool and OpenMP's both have as many threads as the process has cores.
      os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: values.threads])
  load = os.getloadavg()
  results = [_run(name, values) for name in values.shapes]
  import torch

  machine = {
      "device": jax.devices()[0].device_kind, "devices": jax.device_count(), "cores": len(os.sched_getaffinity(0)),
      "jax": jax.__version__, "torch": torch.__version__, "torch_threads": torch.get_num_threads(),
      "load": [load, os.getloadavg()],
      "environment": {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
  }  # fmt: skip
  print(f"\n{machine}")
  if values.json:
    pathlib.Path(values.json).write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
  flags.DEFINE_list("shapes", ["miniature", "110m_2_layers"], f"of {', '.join(SHAPES)}")
  flags.DEFINE_integer("batch", None, "rows, instead of the shape's", lower_bound=1)
  flags.DEFINE_integer("context", None, "tokens in a row, instead of the shape's", lower_bound=32)
  flags.DEFINE_integer("layers", None, "instead of the shape's", lower_bound=1)
  flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "of activations and products, on both sides")
  flags.DEFINE_enum("device", "cpu", ["cpu", "gpu"], "where both run")
  flags.DEFINE_enum("remat", "none", ["none", "dots", "full"], "ours only")
  flags.DEFINE_bool("compile", False, "PyTorch's through torch.compile, else eager")
  flags.DEFINE_bool("across_documents", False, "causal attention over whole rows, for which PyTorch needs no mask")
  flags.DEFINE_integer("threads", None, "cores for both; all by default", lower_bound=1)
  flags.DEFINE_integer("turns", 15, "of timing", lower_bound=1)
  flags.DEFINE_float("seconds", 1.0, "that one side's part of a turn takes", lower_bound=0.0)
  flags.DEFINE_string("json", None, "file to write everything to")
  app.run(main)
