"""The law of a search's runs, and the mixture of row sets that it proposes."""

import dataclasses

import numpy as np

from bsm_jax.mixtures import law as law_lib
from bsm_jax.mixtures.corpora import corpus_of
from bsm_jax.mixtures.runs import Search

# Row sets of a corpus may differ so much, in share of it, from run to run: weights are rounded.
_SAME_PARTS = 1e-3
# Corpora whose share differs less are taken to be the same in all runs.
_VARIES = 1e-3


def _parts(search: Search) -> dict[str, float]:
  """Share of each row set in its corpus, the same in all runs.

  Raises:
    LawError: it is not the same.
  """
  found: dict[str, list[float]] = {}
  for mixture in search.mixtures:
    for row_set, weight in mixture.weights.items():
      found.setdefault(row_set, []).append(weight / mixture.share(corpus_of(row_set)))
  for row_set, parts in found.items():
    if max(parts) - min(parts) > _SAME_PARTS or len(parts) < len(search.mixtures):
      raise law_lib.LawError(f"{row_set} is not the same part of its corpus in every run: a law of the corpora's"
                                " shares needs that; leave out the runs in which it differs")
  return {row_set: float(np.mean(parts)) for row_set, parts in found.items()}


@dataclasses.dataclass(frozen=True)
class Fitted:
  """The law of a search.

  Attributes:
    law: over the corpora that vary.
    laws: those of the bootstrap.
    corpora: that vary.
    proposal: shares of these; those of the others are the same in all runs.
    weights: of the row sets, as proposed.
    errors: root mean squared error on mixtures left out, of each form that was tried and of the mean ("mean").
    predicted: each run's weighted loss as predicted from the runs of other mixtures.
  """

  law: law_lib.Law
  laws: list[law_lib.Law]
  corpora: list[str]
  proposal: law_lib.Proposal
  weights: dict[str, float]
  errors: dict[str, float]
  predicted: np.ndarray

  @property
  def explained(self) -> float:
    """Of the variance of mixtures left out; below zero where their mean predicts them better."""
    return 1 - (self.errors[self.law.form] / self.errors["mean"]) ** 2


def fit_law(search: Search, *, bootstrap: int = 200) -> Fitted:
  """Fits the law in the form that predicts left-out mixtures best, and proposes a mixture.

  Raises:
    LawError: the runs are too few or vary too little.
  """
  parts = _parts(search)
  all_shares, losses = search.runs()
  varies = np.ptp(all_shares, axis=0) > _VARIES
  shares, weights = all_shares[:, varies], search.objective_weights
  forms = law_lib.check_mixtures(shares)
  tried = {form: law_lib.cross_validate(form, shares, losses, weights) for form in forms}
  form = min(tried, key=lambda name: tried[name][0])
  errors = {name: error for name, (error, _) in tried.items()}
  errors["mean"], _ = law_lib.cross_validate(None, shares, losses, weights)
  law = law_lib.fit(form, shares, losses)
  laws = law_lib.bootstrap(law, shares, losses, count=bootstrap)
  proposal = law_lib.propose(law, laws, shares, losses, weights)
  proposed = all_shares.mean(0)
  proposed[varies] = proposal.shares
  by_corpus = dict(zip(search.corpora, proposed))
  mixture = {row_set: float(by_corpus[corpus_of(row_set)] * part) for row_set, part in parts.items()}
  corpora = [corpus for corpus, differs in zip(search.corpora, varies) if differs]
  return Fitted(law, laws, corpora, proposal, mixture, errors, tried[form][1])
