"""BSM-270M: 20 layers of 16 heads x 56, the paper's three rounds with 1024 rows a step (arXiv 2410.11499).

Expect: 270.8M parameters; 259,400 steps of 1024 x 1024 tokens (272B) in all.
Needs: the same rows as `bsm_110m`, and some 64 TPU v5e chips or more.

  python -m bsm_jax.train --config=configs/bsm_270m.py --config.data.root=ROWS --workdir=DIR
"""

from ml_collections import ConfigDict

from configs import arms, bsm_110m


def get_config(variations: str = "") -> ConfigDict:
  config = bsm_110m.get_config()
  config.model.n_layers = 20
  config.model.n_heads = 16
  config.model.d_model = 896
  config.model.head_dim = 56
  config.model.d_ff = 3840
  config.data.batch_size = 1024
  config.eval.every_steps = 4000
  config.checkpoint.every_steps = 2000
  return arms.apply(config, variations)
