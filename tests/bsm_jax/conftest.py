"""Small row sets and a small config, for the tests of training."""

import pathlib

import pytest
from ml_collections import ConfigDict

from configs import bsm_110m
from tests.bsm_jax.sample_rows import CONTEXT, write_row_set


@pytest.fixture(scope="session")
def rows_root(tmp_path_factory) -> pathlib.Path:
  """A folder with the row sets `single` and `pairs`."""
  root = tmp_path_factory.mktemp("rows")
  write_row_set(root, "single")
  write_row_set(root, "pairs")
  return root


@pytest.fixture
def small_config(rows_root) -> ConfigDict:
  """Two rounds of 6 and 4 steps of a model with 2 layers, in fp32 on one device's worth of rows."""
  config = bsm_110m.get_config()
  config.model.update({
      "n_layers": 2, "n_heads": 2, "d_model": 32, "head_dim": 16, "d_ff": 64, "dtype": "float32", "remat": "none",
  })
  config.data.root = str(rows_root)
  config.data.context = CONTEXT
  config.data.batch_size = 8
  step = CONTEXT * config.data.batch_size
  config.rounds = ConfigDict({
      "a": {"tokens": 6 * step, "weights": {"single": 1.0, "pairs": 0.0}, "lr_start": 1e-2, "lr_end": 1e-3,
            "warmup_tokens": 2.0 * step},
      "b": {"tokens": 4 * step, "weights": {"single": 1.0, "pairs": 2.0}, "lr_start": 1e-3, "lr_end": 0.0,
            "warmup_tokens": 0.0},
  })
  config.eval.row_sets = ConfigDict({"pairs": 12})
  config.eval.batch_size = 8
  config.eval.every_steps = 5
  config.log_every_steps = 2
  config.checkpoint.every_steps = 3
  config.figures = ConfigDict({"Pairs": {"DNA": "valid/pairs/dna", "protein": "valid/pairs/protein"}})
  return config
