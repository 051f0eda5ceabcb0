"""A small model on any mesh of any number of hosts, and what its first steps give: the same everywhere."""

import pathlib
import re
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from bsm_jax import sharding
from bsm_jax.input import loader
from bsm_jax.training import program
from configs import bsm_110m
from tests.bsm_jax.sample_rows import CONTEXT, random_documents


def small_config(*, accumulation: int = 1, remat: str = "none") -> ConfigDict:
  """Two layers of eight heads in fp32, sixteen rows a step, and a learning rate that moves every parameter."""
  config = bsm_110m.get_config()
  config.model.update({
      "n_layers": 2, "n_heads": 8, "d_model": 64, "head_dim": 16, "d_ff": 128, "dtype": "float32", "remat": remat,
  })
  config.data.update({"context": CONTEXT, "batch_size": 16})
  weights = ConfigDict({"single": 1.0, "pairs": 1.0})
  config.rounds = ConfigDict({
      "only": {"tokens": 1e6, "weights": weights, "lr_start": 1e-3, "lr_end": 1e-3, "warmup_tokens": 0.0},
  })
  # Nothing is clipped: Adam's first moment after one step is then the gradient, times 1 - b1.
  config.optimizer.clip_norm = 1e9
  config.accumulation = accumulation
  return config


def write_config(config: ConfigDict, folder: pathlib.Path) -> str:
  """Writes `config` as a file that the train command takes; gives its path."""
  path = folder / "config.py"
  path.write_text(
      "import json\nfrom ml_collections import ConfigDict\n\n\n"
      f"def get_config():\n  return ConfigDict(json.loads({config.to_json_best_effort()!r}))\n"
  )
  return str(path)


def batch_of(run: program.Program, number: int) -> dict[str, jax.Array]:
  """A batch of which each host makes the rows that its devices hold."""
  size, context = run.abstract_batch["tokens"].shape
  places = loader.local_places(run.batch_sharding, size)
  rows = number * size + places
  documents = [random_documents(np.random.default_rng(int(row)), 1)[0] for row in rows]
  made = {
      "tokens": np.stack([np.pad(document, (0, context - len(document))) for document in documents]),
      "row_set": (rows % 2).astype(np.int32),
      "row": rows.astype(np.int32),
  }
  empty = {k: np.zeros((len(places), *x.shape[1:]), x.dtype) for k, x in run.abstract_batch.items() if k not in made}
  return loader.to_devices(made | empty, places, size, run.batch_sharding)


class Trace(NamedTuple):
  """Of the first steps: the loss of each; the gradient of the first, and the parameters after the last, by path."""

  losses: list[float]
  gradient: dict[str, np.ndarray]
  params: dict[str, np.ndarray]


def _whole(tree, mesh: Mesh) -> dict[str, np.ndarray]:
  """Every array of a tree, put together on every host."""
  gathered = jax.jit(lambda x: x, out_shardings=sharding.replicated(mesh))(tree)
  return {
      jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf.addressable_data(0))
      for path, leaf in jax.tree.leaves_with_path(gathered)
  }


def first_steps(config: ConfigDict, mesh: Mesh, count: int = 2) -> Trace:
  """Trains a fresh model of `config` for `count` steps."""
  run = program.make_program(config, mesh)
  state, losses, gradient = run.init(), [], {}
  for number in range(count):
    state, metrics = run.train_step(state, batch_of(run, number))
    losses.append(float(metrics["loss"]))
    if number == 0:
      moments = _whole(state["opt_state"], mesh)
      firsts = {re.sub(r".*/mu/", "", name): x for name, x in moments.items() if "/mu/" in name}
      gradient = {name: x / (1 - config.optimizer.b1) for name, x in firsts.items()}
  return Trace(losses, gradient, _whole(state["params"], mesh))


def assert_same_steps(found: Trace, expected: Trace) -> None:
  """In fp32 up to the order of sums.

  Seen: the same losses, gradients apart by 4e-7 of each array's greatest, parameters by 3e-6 after two updates of 1e-3
  each, which Adam makes as large as that whatever the size of a gradient.
  """
  np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-6)
  for name, gradient in expected.gradient.items():
    np.testing.assert_allclose(found.gradient[name], gradient, rtol=0, atol=2e-6 * np.abs(gradient).max(), err_msg=name)
  for name, parameter in expected.params.items():
    np.testing.assert_allclose(found.params[name], parameter, rtol=0, atol=2e-5, err_msg=name)
