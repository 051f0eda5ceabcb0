"""What a seed shifts all its runs by, so that mixtures are compared within seeds and not across.

Runs of one seed read their rows in one order and mostly begin at one checkpoint, so their losses lie higher or lower
together; between seeds that can be far more than between mixtures. The model is that of blocked experiments (Fisher
1935): loss = mixture + seed + noise, by least squares, so that mixtures need not all have the same seeds.
"""

import dataclasses

import numpy as np
from scipy import sparse


class SeedError(ValueError):
  """Seeds whose runs cannot be compared; the message says which and the remedy."""


@dataclasses.dataclass(frozen=True)
class Shifts:
  """Common shifts of the seeds' runs.

  Attributes:
    of_run: the shift of each run's seed, [runs, objectives]; zero on average over the runs.
    covariance: of the mixtures' means without them, for noise of variance one, [mixtures, mixtures].
    freedom: degrees of freedom that are left for the noise.
  """

  of_run: np.ndarray
  covariance: np.ndarray
  freedom: int

  def variance_of_difference(self, a: int, b: int) -> float:
    """Of two mixtures' means, for noise of variance one."""
    return float(self.covariance[a, a] + self.covariance[b, b] - 2 * self.covariance[a, b])


def shifts(mixtures: np.ndarray, seeds: np.ndarray, losses: np.ndarray) -> Shifts:
  """The common shift of each seed.

  Args:
    mixtures: which mixture each run has, [runs], numbered from zero.
    seeds: its seed, [runs].
    losses: [runs, objectives].

  Raises:
    SeedError: no mixture links some of the seeds to the others: shift and mixture cannot be told apart.
  """
  different, seed = np.unique(seeds, return_inverse=True)
  n_mixtures, n_seeds = mixtures.max() + 1, len(different)
  # Mixtures and seeds are the nodes of a graph, runs its edges.
  edges = sparse.coo_array((np.ones(len(seeds)), (mixtures, n_mixtures + seed)), shape=(n_mixtures + n_seeds,) * 2)
  pieces, piece = sparse.csgraph.connected_components(edges, directed=False)
  if pieces > 1:
    apart = [", ".join(map(str, different[piece[n_mixtures:] == p])) for p in range(pieces)]
    raise SeedError(f"no mixture was run both with seed {' and with '.join(apart)}: what is the mixture's and what the"
                    " seed's cannot be told apart. Run one mixture with all of them, or leave out the others' folders")
  design = np.c_[np.eye(n_mixtures)[mixtures], np.eye(n_seeds)[seed]]
  of_run = design[:, n_mixtures:] @ np.linalg.lstsq(design, losses, rcond=None)[0][n_mixtures:]
  inverse = np.linalg.pinv(design.T @ design)[:n_mixtures, :n_mixtures]
  return Shifts(of_run - of_run.mean(0), inverse, len(seeds) - n_mixtures - n_seeds + 1)
