"""Variations of run configs."""

import pytest

from bsm_jax.training import program
from configs import bsm_110m, bsm_270m, miniature, miniature_5m, model_organisms, small, small_6m

CONFIGS = [bsm_110m, bsm_270m, miniature, miniature_5m, model_organisms, small, small_6m]


@pytest.mark.parametrize("config", CONFIGS)
def test_the_single_arm_has_the_same_tokens_and_no_mixed_modal_data(config):
  mixed, single = program.schedule(config.get_config()), program.schedule(config.get_config("single"))
  assert single.steps == mixed.steps and [r.lr_start for r in single.rounds] == [r.lr_start for r in mixed.rounds]
  for of_mixed, of_single in zip(mixed.rounds, single.rounds):
    assert of_single.weights and all(name.startswith("single_") for name in of_single.weights)
    expected = {k: v for k, v in of_mixed.weights.items() if k.startswith("single_")}
    assert of_single.weights == (expected or single.rounds[-2].weights)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_round_by_itself_is_that_round(config):
  whole = program.schedule(config.get_config())
  for of_whole in whole.rounds:
    (alone,) = program.schedule(config.get_config(of_whole.name)).rounds
    assert alone == of_whole


@pytest.mark.parametrize("config", CONFIGS)
def test_a_search_is_one_short_round_whose_rate_falls_to_zero(config):
  of_config = program.schedule(config.get_config()).rounds[-1]
  plan = program.schedule(config.get_config(f"search_{of_config.name}"))
  (search,) = plan.rounds
  assert search.weights == of_config.weights and (search.lr_start, search.lr_end) == (of_config.lr_start, 0.0)
  assert plan.total_steps == (500 if of_config.name == "round3" else 1000)


def test_variations_add_up():
  (alone,) = program.schedule(bsm_110m.get_config("single,round2")).rounds
  assert set(alone.weights) == {"single_dna", "single_rna", "single_protein"} and alone.tokens == 156e9


@pytest.mark.parametrize(("smaller", "larger"), [(bsm_110m, bsm_270m), (miniature, miniature_5m), (small, small_6m)])
def test_larger_siblings_see_the_same_tokens(smaller, larger):
  configs = [module.get_config() for module in (smaller, larger)]
  tokens = [[r.tokens for r in program.schedule(config).rounds] for config in configs]
  assert tokens[0] == tokens[1]
  sizes = [program.model_config(config).matmul_params for config in configs]
  assert 2.4 < sizes[1] / sizes[0] < 2.8


def test_an_unknown_variation_lists_those_there_are():
  with pytest.raises(ValueError, match="no variation 'round9' .* single, round1, round2, round3, search_round1"):
    bsm_110m.get_config("round9")
