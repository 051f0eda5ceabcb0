"""Mixture searches as sweeps, on every base."""

import math

import pytest

from bsm_jax.mixtures.corpora import corpus_of
from configs import bsm_110m, small
from configs.sweeps import round2_mixture, round3_mixture
from launch import sweep

ROUND2, ROUND3 = "configs/sweeps/round2_mixture.py", "configs/sweeps/round3_mixture.py"
BASES = ["bsm_110m", "bsm_270m", "miniature", "small", "small.py:search_round3"]


def mixtures(path: str) -> list[dict[str, float]]:
  """Weights by row set of each run of a sweep."""
  return [{key.split(".")[-1]: weight for key, weight in run.overrides.items()} for run in sweep.make_runs(path)]


def shares(weights: dict[str, float]) -> dict[str, float]:
  found: dict[str, float] = {}
  for row_set, weight in weights.items():
    found[corpus_of(row_set)] = found.get(corpus_of(row_set), 0.0) + weight / sum(weights.values())
  return found


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("path", [ROUND2, ROUND3])
def test_a_search_runs_on_every_base_with_different_positive_mixtures(path, base):
  base = f"configs/{base}" + ("" if ".py" in base else ".py")
  found = mixtures(f"{path}:{base}")
  assert 5 <= len(found) <= 10
  assert all(min(weights.values()) > 0 for weights in found)
  of_corpora = [shares(weights) for weights in found]
  assert len({tuple(round(share, 2) for share in mixture.values()) for mixture in of_corpora}) == len(found)


def test_the_papers_mixtures_are_the_first_points():
  round2, round3 = shares(mixtures(ROUND2)[0]), shares(mixtures(ROUND3)[0])
  assert round2 == pytest.approx({"single": 10 / 13, "refseq_pairs": 2 / 13, "gene_related": 1 / 13})
  assert round3 == pytest.approx({"refseq_pairs": 1 / 12, "gene_related": 1 / 12, "web": 10 / 12})


def test_the_points_reach_from_nearly_no_pairs_to_nearly_only_pairs():
  single = [shares(weights)["single"] for weights in mixtures(ROUND2)]
  assert max(single) > 0.98 and min(single) < 0.3


@pytest.mark.parametrize("path", [ROUND2, f"{ROUND2}:configs/small.py:search_round3"])
def test_inside_a_corpus_the_proportions_are_the_bases(path):
  base = (bsm_110m.get_config("search_round2") if path == ROUND2 else small.get_config("search_round3")).rounds
  ((_, searched),) = base.items()
  of_base = searched.weights.to_dict()
  for weights in mixtures(path):
    scales: dict[str, list[float]] = {}
    for row_set, weight in weights.items():
      scales.setdefault(corpus_of(row_set), []).append(weight / of_base[row_set])
    assert all(max(scale) == pytest.approx(min(scale), rel=1e-4) for scale in scales.values())


def test_a_corpus_that_the_ratios_do_not_speak_of_keeps_its_share():
  found = mixtures(f"{ROUND2}:configs/small.py:search_round3")
  assert len({round(shares(weights)["web"], 5) for weights in found}) == 1
  found = mixtures(f"{ROUND3}:configs/small.py")
  assert len({round(shares(weights)["single"], 5) for weights in found}) == 1
  web = [shares(weights)["web"] for weights in found]
  assert min(web) < 0.02 and max(web) > 0.6


def test_every_validation_loss_is_collected():
  assert "valid/single_protein/loss" in round2_mixture.get_config().metrics
  assert len(round3_mixture.get_config().metrics) == len(bsm_110m.get_config().eval.row_sets)


def test_a_round_without_two_corpora_to_weigh_is_refused():
  with pytest.raises(sweep.SweepError, match="bsm_110m.py:search_round1 mixes single: a search needs two or more of"):
    sweep.make_runs(f"{ROUND2}:configs/bsm_110m.py:search_round1")


def test_a_base_without_such_a_round_is_told_which_it_has(tmp_path):
  base = tmp_path / "base.py"
  base.write_text(
    "from ml_collections import ConfigDict\n"
    "def get_config(variations=''): return ConfigDict({'rounds': {'first': {}, 'second': {}}})\n"
  )
  with pytest.raises(sweep.SweepError, match=r"has no round2: name one of first, second behind a colon"):
    sweep.make_runs(f"{ROUND2}:{base}")


def test_a_base_that_is_not_there_is_refused():
  with pytest.raises(sweep.SweepError, match="nothing.py"):
    sweep.make_runs(f"{ROUND2}:configs/nothing.py")


def test_a_sweep_without_an_argument_refuses_one():
  with pytest.raises(sweep.SweepError, match="learning_rate.py takes nothing behind a colon: leave out 'x'"):
    sweep.make_runs("configs/sweeps/learning_rate.py:x")


def test_every_run_of_a_search_is_one_round_annealed_to_zero():
  (first, *_) = sweep.make_runs(f"{ROUND2}:configs/miniature.py")
  config = sweep._parse(first.arguments, "")
  ((name, searched),) = config.rounds.items()
  assert name == "search_round2b" and searched.lr_end == 0.0
  assert math.ceil(searched.tokens / (config.data.batch_size * config.data.context)) == 1000
