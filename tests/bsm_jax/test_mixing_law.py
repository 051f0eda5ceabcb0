"""The data-mixing law on losses that were drawn from one."""

import numpy as np
import pytest

from bsm_jax.mixtures import law as law_lib

RATIOS = [(10, 2, 1), (10, 0.1, 0.05), (10, 6, 0.25), (10, 0.5, 4), (10, 16, 8), (10, 0.5, 0.25), (10, 5, 2.5),
          (10, 32, 0.5), (10, 1, 24)]  # fmt: skip
SHARES = np.array([np.array(ratio) / sum(ratio) for ratio in RATIOS])
# DNA gains from the first and a little of the second corpus, proteins from the second.
TRUTH = law_lib.Law("exponential", np.array([1.2, 2.4]), np.array([[-3.0, -1.0, -1.5], [-0.5, -4.0, -2.0]]))
WEIGHTS = np.array([0.5, 0.5])
NOISE = 1e-3


def noisy(seed: int = 0, shares: np.ndarray = SHARES, truth: law_lib.Law = TRUTH, noise: float = NOISE) -> np.ndarray:
  losses = truth(shares)
  return losses + np.random.default_rng(seed).normal(0, noise, losses.shape)


def test_the_parameters_are_recovered_from_exact_losses():
  law = law_lib.fit("exponential", SHARES, TRUTH(SHARES))
  np.testing.assert_allclose(law.floors, TRUTH.floors, atol=1e-3)
  np.testing.assert_allclose(law.slopes, TRUTH.slopes, atol=1e-2)


@pytest.mark.parametrize("seed", range(3))
def test_the_parameters_are_recovered_from_noisy_losses(seed):
  law = law_lib.fit("exponential", SHARES, noisy(seed))
  np.testing.assert_allclose(law.floors, TRUTH.floors, atol=0.02)
  np.testing.assert_allclose(law.slopes, TRUTH.slopes, atol=0.15)


def test_a_floor_that_most_mixtures_reach_is_their_mean_and_not_the_lowest_run():
  """A task learned wherever there are some pairs: the noise of the runs that know it says nothing of the floor."""
  pairs = np.repeat(np.linspace(0.0, 0.9, 13), 4)
  shares, truth = np.c_[1 - pairs, pairs], law_lib.Law("exponential", np.array([1.0]), np.array([[-0.5, -20.0]]))
  losses = noisy(0, shares, truth, noise=0.05)
  law = law_lib.fit("exponential", shares, losses)
  assert losses.min() < 0.93 and law.floors[0] == pytest.approx(1.0, abs=0.02)
  floors = [one.floors[0] for one in law_lib.bootstrap(law, shares, losses, count=50)]
  assert np.mean(floors) == pytest.approx(law.floors[0], abs=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_between_the_tried_mixtures_is_found(seed):
  losses = noisy(seed)
  law = law_lib.fit("exponential", SHARES, losses)
  proposal = law_lib.propose(law, law_lib.bootstrap(law, SHARES, losses, count=50), SHARES, losses, WEIGHTS)
  # Points all over the hull of what was tried.
  grid = np.random.default_rng(9).dirichlet(np.full(len(SHARES), 0.2), 20_000) @ SHARES
  best = grid[(TRUTH(grid) @ WEIGHTS).argmin()]
  np.testing.assert_allclose(proposal.shares, best, atol=0.03)
  assert (TRUTH(proposal.shares[None]) @ WEIGHTS).item() < (TRUTH(grid) @ WEIGHTS).min() + 1e-4
  assert (TRUTH(proposal.shares[None]) @ WEIGHTS).item() < (TRUTH(SHARES) @ WEIGHTS).min()


def test_the_spread_is_that_of_repeated_searches():
  """Of 30 searches: how much their predictions at one mixture differ is what each says by its bootstrap."""
  at = SHARES[:1]
  fits = [law_lib.fit("exponential", SHARES, noisy(seed)) for seed in range(30)]
  between = np.std([(law(at) @ WEIGHTS).item() for law in fits])
  laws = law_lib.bootstrap(fits[0], SHARES, noisy(0), count=100)
  assert 0.4 < np.std([(law(at) @ WEIGHTS).item() for law in laws]) / between < 2.5


def test_more_noise_makes_all_uncertainties_wider():
  def proposed(noise: float) -> law_lib.Proposal:
    losses = noisy(noise=noise)
    law = law_lib.fit("exponential", SHARES, losses)
    return law_lib.propose(law, law_lib.bootstrap(law, SHARES, losses, count=50), SHARES, losses, WEIGHTS)

  quiet, loud = proposed(1e-4), proposed(3e-3)
  assert loud.law_spread > 3 * quiet.law_spread and loud.run_spread > 3 * quiet.run_spread
  assert np.all(loud.high - loud.low > quiet.high - quiet.low)
  assert quiet.run_spread > quiet.law_spread and np.all(quiet.low <= quiet.shares + 1e-3)


def test_one_objective_is_best_at_a_border_and_that_is_said():
  losses = noisy()[:, :1]
  law = law_lib.fit("exponential", SHARES, losses)
  proposal = law_lib.propose(law, law_lib.bootstrap(law, SHARES, losses, count=10), SHARES, losses, np.ones(1))
  assert proposal.at_border
  np.testing.assert_allclose(proposal.shares, SHARES[1], atol=1e-3)


def test_the_border_is_that_of_what_was_tried():
  corners = np.eye(3) * 0.9 + 0.1 / 3
  centre = np.full(3, 1 / 3)
  assert not law_lib.lies_on_border(centre, corners)
  assert not law_lib.lies_on_border(0.9 * centre + 0.1 * corners[0], corners)
  assert law_lib.lies_on_border(corners[0], corners)
  assert law_lib.lies_on_border((corners[0] + corners[1]) / 2, corners)


def test_left_out_mixtures_are_predicted_better_by_the_law_than_by_the_mean():
  errors = {form: law_lib.cross_validate(form, SHARES, noisy(), WEIGHTS)[0] for form in [*law_lib.FORMS, None]}
  assert errors["exponential"] < 5 * NOISE
  assert errors["exponential"] < errors["log-linear"] < errors[None]


def test_where_the_mixture_does_not_matter_no_law_beats_the_mean_by_much():
  """And the shrunken form comes close to the mean itself."""
  losses = 2.0 + np.random.default_rng(1).normal(0, NOISE, (len(SHARES), 2))
  error = {form: law_lib.cross_validate(form, SHARES, losses, WEIGHTS)[0] for form in ("log-linear", None)}
  assert 0.8 < error["log-linear"] / error[None] < 1.5


def test_seeds_of_a_left_out_mixture_are_left_out_together():
  """Else a run would be predicted from its own repetition."""
  shares = np.repeat(SHARES, 2, axis=0)
  losses = np.repeat(TRUTH(SHARES), 2, axis=0)
  losses[:2] += 0.5
  _, predicted = law_lib.cross_validate("exponential", shares, losses, WEIGHTS)
  np.testing.assert_allclose(predicted[:2], (TRUTH(SHARES[:1]) @ WEIGHTS).item(), atol=1e-3)


@pytest.mark.parametrize(
  ("mixtures", "forms"), [(9, ["exponential", "log-linear"]), (6, ["exponential", "log-linear"]), (5, ["log-linear"])]
)
def test_few_mixtures_allow_the_shrunken_form_only(mixtures, forms):
  assert law_lib.check_mixtures(np.repeat(SHARES[:mixtures], 2, axis=0)) == forms


def test_too_few_mixtures_are_refused_whatever_the_seeds():
  with pytest.raises(law_lib.LawError, match=r"3 different mixture\(s\) of 3 corpora that vary: a law needs 4 or more"):
    law_lib.check_mixtures(np.repeat(SHARES[:3], 4, axis=0))


def test_corpora_that_always_change_together_are_refused():
  together = np.array([(s, (1 - s) * 2 / 3, (1 - s) / 3) for s in np.linspace(0.1, 0.9, 7)])
  with pytest.raises(law_lib.LawError, match="too few directions"):
    law_lib.check_mixtures(together)


def test_two_corpora_suffice():
  shares = np.array([(s, 1 - s) for s in (0.1, 0.3, 0.5, 0.7, 0.9, 0.97)])
  truth = law_lib.Law("exponential", np.array([1.0, 2.0]), np.array([[-2.0, 0.0], [0.0, -3.0]]))
  losses = noisy(shares=shares, truth=truth)
  law = law_lib.fit("exponential", shares, losses)
  grid = np.array([(s, 1 - s) for s in np.linspace(0.1, 0.97, 500)])
  best = grid[(truth(grid) @ WEIGHTS).argmin()]
  np.testing.assert_allclose(law_lib.best_shares(law, WEIGHTS, shares), best, atol=0.02)
