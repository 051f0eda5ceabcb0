"""The larger sibling of `configs/small.py`, 6.5M parameters to its 2.4M, as BSM-270M is of BSM-110M; same tokens.

  python -m bsm_jax.train --config=configs/small_6m.py --config.data.root=ROWS --workdir=DIR

Both arms at once took 67 minutes on two CPU cores that other work shared, with the settings of `configs/small.py`.
Found, seed 0, at the end (bits a residue; the 2.4M models of seed 0 in brackets):

            DNA             RNA             protein
  mixed     1.929 (1.941)   1.915 (1.939)   4.164 (4.164)
  single    1.919 (1.921)   1.895 (1.910)   4.145 (4.137)

Held-out proteins given their DNA, 10-60 codons: 0.004 bits in E. coli and in yeast; given a wrong DNA above 12.
"""

from ml_collections import ConfigDict

from configs import arms, miniature_5m, small


def get_config(variations: str = "") -> ConfigDict:
  return arms.apply(miniature_5m.enlarge(small.get_config()), variations)
