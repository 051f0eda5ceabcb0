"""Run directories for the export: a small model on any mesh of any hosts, none of its parameters at its default."""

import json
import pathlib

import jax
from ml_collections import ConfigDict

from bsm_jax import tokenizer
from bsm_jax.training import checkpoint, program
from configs import bsm_110m

STEP, ROUND = 3, "round1"


def small_config() -> ConfigDict:
  """Two layers, heads * head_dim unequal to d_model."""
  config = bsm_110m.get_config()
  config.model.update({"n_layers": 2, "n_heads": 2, "d_model": 64, "head_dim": 24, "d_ff": 80})
  config.data.update({"context": 64, "batch_size": 8, "root": "/home/somebody/rows"})
  return config


def _perturbed(params: dict) -> dict:
  """Norm scales around 1, everything else three times as large: logits that tell one mapping from another."""
  leaves, tree = jax.tree.flatten_with_path(params)
  key = jax.random.key(5)
  scales = lambda number, x: 1 + 0.3 * jax.random.normal(jax.random.fold_in(key, number), x.shape)
  return jax.tree.unflatten(tree, [
      scales(number, x) if "norm" in jax.tree_util.keystr(path) else 3 * x for number, (path, x) in enumerate(leaves)
  ])  # fmt: skip


def write_run(folder: pathlib.Path, config: ConfigDict, shape: tuple[int, int, int] = (1, 1, 1)) -> None:
  """A checkpoint of step `STEP` as `bsm_jax.train` writes it.

  Args:
    folder: the run directory.
    config: see `small_config`.
    shape: of the mesh, over the first of JAX's devices.
  """
  count = shape[0] * shape[1] * shape[2]
  config = program.with_mixtures(config)
  config.mesh = dict(zip(("data", "fsdp", "model"), shape))
  run = program.make_program(config, program.make_mesh(config, jax.devices()[:count]))
  state = run.init()
  places = jax.tree.map(lambda x: x.sharding, run.abstract_state["params"])
  state["params"] = jax.jit(_perturbed, out_shardings=places)(state["params"])
  meta = {
      "config": json.loads(config.to_json_best_effort()), "vocabulary_hash": tokenizer.vocabulary_hash(),
      "round": ROUND, "tokens": STEP * 512,
      "rows": {"single_dna": 20, "single_protein": 4}, "drawn_before": {}, "version": "0.1.0",
  }  # fmt: skip
  writer = checkpoint.Checkpointer(folder / "checkpoints", every_steps=1)
  writer.save(checkpoint.Checkpoint(STEP, state, {"next_row": 24, "interval": {}}, meta), force=True)
  writer.close()
