"""Loss as a function of the mixture: a data-mixing law fitted to short runs, and the mixture that it proposes.

The law is that of Ye et al. (arXiv 2403.16952): after a fixed number of steps, an objective's loss is
`L(r) = c + k exp(sum_j t_j r_j)`, r being the corpora's shares of the tokens. As the shares sum to one, k only adds
`log k` to every t_j and is left out (k > 0, which makes L convex: a mixture is best for one objective at a border
of what was tried, and inside only where objectives pull apart).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import optimize

FORMS = {"exponential": "c + exp(t r)", "log-linear": "exp(t r), t shrunk towards its mean"}
# Where the search for c begins, as parts of the lowest loss. Given c, the t_j are a linear regression of log(L - c).
_FLOORS = (0.0, 0.5, 0.8, 0.95, 0.99, 0.999)
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class LawError(ValueError):
  """Runs that no law can be fitted to; the message says why and what would help."""


@dataclasses.dataclass(frozen=True)
class Law:
  """Fitted laws of several objectives.

  Attributes:
    form: one of `FORMS`.
    floors: c of each objective, [o]; zero in the log-linear form.
    slopes: t, [o, corpora].
    ridge: the log-linear form's shrinkage.
  """

  form: str
  floors: np.ndarray
  slopes: np.ndarray
  ridge: float = 0.0

  def __call__(self, shares: np.ndarray) -> np.ndarray:
    """Losses [n, o] at the shares [n, corpora]."""
    return self.floors + np.exp(shares @ self.slopes.T)

  @property
  def parameters(self) -> int:
    """Free parameters of each objective."""
    return self.slopes.shape[1] + (self.form == "exponential")


@dataclasses.dataclass(frozen=True)
class Proposal:
  """The mixture that the law likes best, within the convex hull of what was tried.

  Attributes:
    shares: of each corpus, [corpora].
    value: the law's loss there, weighted over the objectives.
    law_spread: standard deviation of that over the bootstrap.
    run_spread: the same for the loss of a single new run, its own noise included.
    low, high: 5th and 95th percentile of the best shares over the bootstrap, [corpora].
    at_border: it lies on the border of the hull, so that the best mixture may lie beyond.
    gain: by how much the law's loss there is below the law's loss at the mixture that came out best.
    gain_spread: standard deviation of that over the bootstrap.
  """

  shares: np.ndarray
  value: float
  law_spread: float
  run_spread: float
  low: np.ndarray
  high: np.ndarray
  at_border: bool
  gain: float
  gain_spread: float


def needed(corpora: int) -> dict[str, int]:
  """Different mixtures that each form of the law needs: parameters + 2, and for the shrunken form + 1."""
  return {"exponential": corpora + 3, "log-linear": corpora + 1}


def distinct(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The different mixtures [m, corpora] among the runs' shares, and which of them each run has, [n]."""
  mixtures, which = np.unique(np.round(shares, 6), axis=0, return_inverse=True)
  return mixtures, which.reshape(-1)


def check_mixtures(shares: np.ndarray) -> list[str]:
  """The forms of the law that the runs suffice for.

  Args:
    shares: of the corpora that vary, [n, corpora].

  Raises:
    LawError: they suffice for none.
  """
  mixtures, _ = distinct(shares)
  corpora = shares.shape[1]
  forms = [form for form, least in needed(corpora).items() if len(mixtures) >= least]
  if corpora < 2 or not forms:
    least = min(needed(max(corpora, 2)).values())
    raise LawError(f"{len(mixtures)} different mixture(s) of {corpora} corpora that vary: a law needs {least} or more;"
                   " add points to the sweep")
  if np.linalg.matrix_rank(mixtures - mixtures.mean(0), tol=1e-3) < corpora - 1:
    raise LawError(f"the mixtures of the {corpora} corpora vary along too few directions (two corpora always change"
                   " together): add points to the sweep that change one without the other")
  return forms


def fit(form: str, shares: np.ndarray, losses: np.ndarray, *, start: Law | None = None) -> Law:
  """Least squares of each objective by itself.

  Args:
    form: one of `FORMS`.
    shares: [n, corpora].
    losses: [n, o], positive.
    start: a law close by; without one, several starts are tried.
  """
  if form == "log-linear":
    ridge = start.ridge if start else _choose_ridge(shares, losses)
    return Law(form, np.zeros(losses.shape[1]), _log_linear(shares, losses, ridge), ridge)
  found = [
      _exponential(shares, loss, None if start is None else np.r_[start.floors[o], start.slopes[o]])
      for o, loss in enumerate(losses.T)
  ]
  return Law(form, np.array([p[0] for p in found]), np.array([p[1:] for p in found]))


def _exponential(shares: np.ndarray, loss: np.ndarray, start: np.ndarray | None) -> np.ndarray:
  """(c, t_1, ...) of one objective."""
  scale, lowest = max(loss.std(), 1e-9 * loss.mean()), loss.min()
  # A floor may lie above the lowest loss, as noise takes runs below it.
  bounds = np.array([(0.0, loss.max())] + [(-40.0, 20.0)] * shares.shape[1]).T
  excess = lambda p: np.exp(shares @ p[1:])
  residuals = lambda p: (p[0] + excess(p) - loss) / scale
  jacobian = lambda p: np.c_[np.ones(len(loss)), excess(p)[:, None] * shares] / scale
  if start is None:
    floors = [part * lowest for part in _FLOORS]
    starts = [np.r_[c, np.linalg.lstsq(shares, np.log(loss - c), rcond=None)[0]] for c in floors]
  else:
    starts = [start]
  tried = [
      optimize.least_squares(residuals, np.clip(p, bounds[0] + 1e-9, bounds[1] - 1e-9), jacobian, bounds=bounds,
                             max_nfev=100)
      for p in starts
  ]  # fmt: skip
  return min(tried, key=lambda result: result.cost).x


def _log_linear(shares: np.ndarray, losses: np.ndarray, ridge: float) -> np.ndarray:
  """t [o, corpora] of log L = t r, with a penalty on t's distance from its mean over the corpora."""
  corpora = shares.shape[1]
  unlike = np.eye(corpora) - 1 / corpora
  return np.linalg.solve(shares.T @ shares + ridge * len(shares) * unlike, shares.T @ np.log(losses)).T


def _choose_ridge(shares: np.ndarray, losses: np.ndarray) -> float:
  """The shrinkage with the least error on mixtures left out."""
  _, which = distinct(shares)

  def error(ridge: float) -> float:
    total = 0.0
    for mixture in range(which.max() + 1):
      inside = which != mixture
      slopes = _log_linear(shares[inside], losses[inside], ridge)
      total += np.sum((np.log(losses[~inside]) - shares[~inside] @ slopes.T) ** 2)
    return total

  return min(_RIDGES, key=error)


def cross_validate(
    form: str | None, shares: np.ndarray, losses: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
  """Predicts each mixture's weighted loss from the runs of all others.

  Args:
    form: of the law; None predicts the mean of the others.
    shares, losses: [n, corpora], [n, o].
    weights: of the objectives, [o].

  Returns:
    the root of the mean squared error over runs, and each run's prediction [n].
  """
  _, which = distinct(shares)
  predicted = np.empty(len(shares))
  for mixture in range(which.max() + 1):
    inside = which != mixture
    if form is None:
      predicted[~inside] = (losses[inside] @ weights).mean()
    else:
      predicted[~inside] = fit(form, shares[inside], losses[inside])(shares[~inside]) @ weights
  return float(np.sqrt(np.mean((predicted - losses @ weights) ** 2))), predicted


def best_shares(law: Law, weights: np.ndarray, mixtures: np.ndarray) -> np.ndarray:
  """The shares within the convex hull of `mixtures` [m, corpora] at which the law's weighted loss is least.

  The loss is convex in the shares, so that a local minimum is the global one.
  """
  at_mixtures = law(mixtures) @ weights
  # Losses differ in the third digit: on a scale of their own range, the solver's tolerance means something.
  scale = max(np.ptp(at_mixtures), 1e-12)
  value = lambda parts: float((law(parts[None] @ mixtures) @ weights)[0] - at_mixtures.min()) / scale

  def gradient(parts: np.ndarray) -> np.ndarray:
    excess = np.exp(law.slopes @ (parts @ mixtures))
    return mixtures @ ((weights * excess) @ law.slopes) / scale

  start = np.full(len(mixtures), 0.5 / len(mixtures))
  start[at_mixtures.argmin()] += 0.5
  found = optimize.minimize(
      value, start, jac=gradient, method="SLSQP", bounds=[(0, 1)] * len(mixtures), options={"ftol": 1e-10},
      constraints={"type": "eq", "fun": lambda parts: parts.sum() - 1, "jac": np.ones_like},
  )  # fmt: skip
  parts = np.clip(found.x, 0, None)
  shares = parts / parts.sum() @ mixtures
  return min((shares, mixtures[at_mixtures.argmin()]), key=lambda r: float((law(r[None]) @ weights)[0]))


def lies_on_border(shares: np.ndarray, mixtures: np.ndarray) -> bool:
  """Whether the ray from the hull's centre through `shares` ends there, to 2 % of its length (a linear program)."""
  centre = mixtures.mean(0)
  direction = shares - centre
  if np.abs(direction).max() < 1e-6:
    return False
  # The greatest s with shares + s (shares - centre) = sum of parts of mixtures, parts >= 0 and of sum 1.
  equalities = np.c_[np.r_[mixtures.T, np.ones((1, len(mixtures)))], np.r_[-direction, 0.0]]
  cost = np.r_[np.zeros(len(mixtures)), -1.0]
  # The shares come from a solver: a hair outside of the hull is on its border.
  found = optimize.linprog(cost, A_eq=equalities, b_eq=np.r_[shares, 1.0], bounds=(0, None))
  return bool(not found.success or found.x[-1] < 0.02)


def bootstrap(law: Law, shares: np.ndarray, losses: np.ndarray, *, count: int, seed: int = 0) -> list[Law]:
  """Laws refitted to losses whose residuals have random signs (the wild bootstrap of Wu 1986).

  Each run keeps its own residual, of all objectives together, as some mixtures' runs vary far more than others': those
  that are about to learn something. It is widened by sqrt(n / (n - parameters)), as a fit takes up part of the noise.
  """
  rng, fitted = np.random.default_rng(seed), law(shares)
  residuals = (losses - fitted) * _widening(law, len(shares))
  draw = lambda: fitted + residuals * rng.choice((-1.0, 1.0), size=(len(shares), 1))
  # Losses stay positive, which the logarithm needs.
  return [fit(law.form, shares, np.maximum(draw(), 1e-6), start=law) for _ in range(count)]


def _widening(law: Law, runs: int) -> float:
  return float(np.sqrt(runs / max(runs - law.parameters, 1)))


def propose(
    law: Law, laws: Sequence[Law], shares: np.ndarray, losses: np.ndarray, weights: np.ndarray
) -> Proposal:
  """The best mixture and how well it is known.

  Args:
    law: the fitted one.
    laws: those of the bootstrap.
    shares, losses: of the runs, [n, corpora], [n, o].
    weights: of the objectives, [o], of sum 1.
  """
  mixtures, which = distinct(shares)
  best = best_shares(law, weights, mixtures)
  measured = np.bincount(which, losses @ weights) / np.bincount(which)
  winner = mixtures[measured.argmin()]
  at = lambda one, where: float((one(np.atleast_2d(where)) @ weights)[0])
  optima = np.array([best_shares(one, weights, mixtures) for one in laws])
  low, high = np.percentile(optima, (5, 95), axis=0)
  law_spread = float(np.std([at(one, best) for one in laws]))
  noise = float(np.std((losses - law(shares)) @ weights)) * _widening(law, len(shares))
  return Proposal(
      shares=best,
      value=at(law, best),
      law_spread=law_spread,
      run_spread=float(np.hypot(law_spread, noise)),
      low=low,
      high=high,
      at_border=lies_on_border(best, mixtures),
      gain=at(law, winner) - at(law, best),
      gain_spread=float(np.std([at(one, winner) - at(one, best) for one in laws])),
  )
