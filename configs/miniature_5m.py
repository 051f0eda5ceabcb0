"""The larger sibling of `configs/miniature.py`, 4.9M parameters to its 1.8M, as BSM-270M is of BSM-110M; same tokens.

  python -m bsm_jax.train --config=configs/miniature_5m.py --config.data.root=ROWS --workdir=DIR
"""

from ml_collections import ConfigDict

from configs import arms, miniature


def enlarge(config: ConfigDict) -> ConfigDict:
  """More layers and wider ones: some 2.7 times the parameters."""
  config.model.update({"n_layers": config.model.n_layers * 8 // 5, "n_heads": 8, "d_model": 256, "d_ff": 704})
  return config


def get_config(variations: str = "") -> ConfigDict:
  return arms.apply(enlarge(miniature.get_config()), variations)
