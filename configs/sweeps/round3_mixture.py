"""The mixture of round 3: short runs from the end of round 2, RefSeq : GRS : web around the paper's 1 : 1 : 10.

Expect: 9 runs of 500 steps for BSM-110M, each annealed to zero (paper's mixture search); the table names the winner.

  python -m launch.sweep --config=configs/sweeps/round3_mixture.py --workdir=DIR --local \
    -- --config.init_from=RUN@round2 --config.data.root=ROWS
  python -m bsm_jax.mixture_search --workdir=DIR --out=round3.json

Another base stands behind a colon, as with `configs/sweeps/round2_mixture.py`. In a round without web documents, the
single sequences stand in their place.
"""

from ml_collections import ConfigDict

from configs.sweeps import round2_mixture

# Web : RefSeq : GRS.
RATIOS = (
    (10, 1, 1), (10, 0.1, 0.1), (10, 4, 0.25), (10, 0.25, 4), (10, 16, 16),
    (10, 0.5, 0.5), (10, 4, 4), (10, 24, 1), (10, 1, 24),
)  # fmt: skip


def get_config(base: str = "configs/bsm_110m.py") -> ConfigDict:
  return round2_mixture.around(RATIOS, base, round_prefix="round3", main=("web", "single"))
