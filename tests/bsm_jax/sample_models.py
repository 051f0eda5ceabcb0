"""Small models with random parameters, as `inference.load` gives them, and run directories that hold such."""

import contextlib
import functools
import pathlib

import jax
import numpy as np
from ml_collections import ConfigDict

from bsm_jax import inference, sharding, tokenizer
from bsm_jax import model as model_lib
from bsm_jax.training import checkpoint
from bsm_jax.training import program as program_lib

CONFIG = model_lib.ModelConfig(
    vocab_size=tokenizer.VOCAB_SIZE, n_layers=2, n_heads=3, d_model=48, head_dim=32, d_ff=64, dtype="float32"
)


@functools.cache
def random_model(context: int = 64, devices: int = 1) -> inference.Model:
  """A model whose predictions depend visibly on what stands before."""
  rng = np.random.default_rng(7)
  params = jax.tree.map(
      lambda x: np.asarray(x) * (1 + rng.normal(0, 0.3, x.shape)).astype(np.float32) * (1 if x.ndim == 1 else 8),
      model_lib.init_params(CONFIG, 0),
  )
  mesh = sharding.make_mesh((devices, 1, 1), jax.devices()[:devices], slices=1)
  return inference.Model(CONFIG, jax.device_put(params, sharding.replicated(mesh)), context, mesh)


def write_run(folder: pathlib.Path, config: ConfigDict, params=None, *, steps=(3,), vocabulary_hash: str = "") -> None:
  """What a run leaves: its config, and checkpoints of some steps.

  Args:
    folder: the run directory.
    config: of the run.
    params: fresh ones by default.
    steps: of the checkpoints, all alike.
    vocabulary_hash: another than the present one.
  """
  program = program_lib.make_program(config, program_lib.make_mesh(config))
  state = program.init() | ({} if params is None else {"params": params})
  meta = {"vocabulary_hash": vocabulary_hash or tokenizer.vocabulary_hash()}
  with contextlib.closing(checkpoint.Checkpointer(folder / "checkpoints", every_steps=1)) as kept:
    for step in steps:
      kept.save(checkpoint.Checkpoint(step, state, {}, meta))
  (folder / "config.json").write_text(config.to_json_best_effort())
