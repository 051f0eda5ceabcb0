"""The larger sibling of `configs/small.py`, 6.5M parameters to its 2.4M, as BSM-270M is of BSM-110M; same tokens.

  python -m bsm_jax.train --config=configs/small_6m.py --config.data.root=ROWS --workdir=DIR

Not run yet; see `configs/small.py` for the settings of two CPU cores.
"""

from ml_collections import ConfigDict

from configs import arms, miniature_5m, small


def get_config(variations: str = "") -> ConfigDict:
  return arms.apply(miniature_5m.enlarge(small.get_config()), variations)
