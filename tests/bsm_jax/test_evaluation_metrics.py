"""Metrics against SciPy, against brute force, and against values computed by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from bsm_jax.evaluation import metrics


@pytest.mark.parametrize("values", [3, 10, 1000])
def test_spearman_is_scipys_with_and_without_ties(values):
  rng = np.random.default_rng(values)
  targets, predictions = rng.integers(values, size=(2, 200))
  expected = stats.spearmanr(targets, predictions)
  found = metrics.spearman(targets, predictions)
  assert found == pytest.approx(expected.statistic, abs=1e-12)
  assert metrics.correlation_p_value(found, 200) == pytest.approx(expected.pvalue, rel=1e-9)


def test_pearson_is_scipys():
  targets, predictions = np.random.default_rng(0).normal(size=(2, 50))
  assert metrics.pearson(targets, predictions) == pytest.approx(stats.pearsonr(targets, predictions).statistic)


@pytest.mark.parametrize("metric", [metrics.spearman, metrics.pearson, metrics.ndcg, metrics.top_recall])
def test_a_value_that_is_nan_is_an_error_that_says_how_many_there_are(metric):
  with pytest.raises(metrics.MetricError, match="2 of 4 .* are nan or infinite"):
    metric([1.0, 2.0, 3.0, 4.0], [1.0, np.nan, np.inf, 2.0])


@pytest.mark.parametrize("metric", [metrics.spearman, metrics.pearson])
def test_a_correlation_with_constant_predictions_is_nan_and_not_zero(metric):
  assert np.isnan(metric([1.0, 2.0, 3.0], [0.3, 0.3, 0.3]))
  assert np.isnan(metric([1.0], [2.0]))
  assert np.isnan(metrics.correlation_p_value(float("nan"), 10))


def test_arrays_of_several_lengths_are_refused_and_so_are_none():
  with pytest.raises(metrics.MetricError, match=r"targets \(3,\), predictions \(2,\)"):
    metrics.spearman([1, 2, 3], [1, 2])
  with pytest.raises(metrics.MetricError, match="there are no"):
    metrics.accuracy([], [])


def test_class_metrics_are_those_computed_by_hand():
  labels, predictions = [1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0]  # TP 2, FN 1, FP 1, TN 4
  assert metrics.accuracy(labels, predictions) == 6 / 8
  assert metrics.macro_f1(labels, predictions) == pytest.approx((4 / 6 + 8 / 10) / 2)
  assert metrics.mcc(labels, predictions) == pytest.approx((2 * 4 - 1 * 1) / np.sqrt(3 * 3 * 5 * 5))


def test_mcc_of_several_classes_is_the_correlation_of_their_indicators():
  rng = np.random.default_rng(1)
  labels = rng.integers(4, size=100)
  predictions = np.where(rng.random(100) < 0.5, labels, rng.integers(4, size=100))
  x, y = np.eye(4)[labels], np.eye(4)[predictions]
  cov = lambda a, b: ((a - a.mean(0)) * (b - b.mean(0))).sum()
  assert metrics.mcc(labels, predictions) == pytest.approx(cov(x, y) / np.sqrt(cov(x, x) * cov(y, y)))


def test_a_class_that_is_predicted_and_never_right_counts_in_macro_f1():
  assert metrics.macro_f1([0, 0, 1], [0, 0, 2]) == pytest.approx(1 / 3)


def test_mcc_and_auc_of_a_single_class_are_nan():
  assert np.isnan(metrics.mcc([1, 1], [0, 1]))
  assert np.isnan(metrics.auc([1, 1], [0.1, 0.9]))


def test_labels_that_are_no_classes_are_refused():
  with pytest.raises(metrics.MetricError, match="whole numbers"):
    metrics.accuracy([0, 1], [0.2, 0.9])
  with pytest.raises(metrics.MetricError, match="0 and 1, not 1, 2"):
    metrics.auc([1, 2], [0.2, 0.9])


def test_auc_is_the_share_of_pairs_in_order_with_ties_counting_half():
  rng = np.random.default_rng(2)
  labels, scores = rng.integers(2, size=60), rng.integers(8, size=60)
  pairs = list(itertools.product(scores[labels == 1], scores[labels == 0]))
  assert metrics.auc(labels, scores) == pytest.approx(np.mean([(p > n) + (p == n) / 2 for p, n in pairs]))


def test_proteingyms_mcc_calls_scores_at_the_median_fit():
  # The median of the scores is 2, so 2 and 3 are called fit.
  assert metrics.median_mcc([0, 1, 1], [1.0, 2.0, 3.0]) == pytest.approx(1.0)
  assert metrics.median_mcc([0, 0, 1], [1.0, 2.0, 3.0]) == pytest.approx(0.5)


def test_ndcg_counts_the_best_tenth_and_discounts_by_rank():
  targets = np.arange(20.0)  # gains 0, 1/19, … 1; the best two count
  scores = targets.copy()
  assert metrics.ndcg(targets, scores) == pytest.approx(1.0)
  scores[[18, 19, 5]] = [100.0, 0.0, 50.0]  # now 18 comes first, and 5 second
  ideal = 1 + (18 / 19) / np.log2(3)
  assert metrics.ndcg(targets, scores) == pytest.approx((18 / 19 + (5 / 19) / np.log2(3)) / ideal)
  assert np.isnan(metrics.ndcg(np.ones(20), scores))


def test_top_recall_is_the_share_of_the_best_tenth_that_is_found():
  targets = np.arange(30.0)
  scores = targets.copy()
  assert metrics.top_recall(targets, scores) == 1.0
  scores[29] = -1.0
  assert metrics.top_recall(targets, scores) == pytest.approx(2 / 3)


def test_a_bootstrap_interval_holds_the_figure_and_draws_the_same_every_time():
  targets = np.random.default_rng(3).normal(size=80)
  predictions = targets + np.random.default_rng(4).normal(size=80)
  low, high = metrics.bootstrap_interval(metrics.spearman, targets, predictions, resamples=200)
  assert low < metrics.spearman(targets, predictions) < high
  assert (low, high) == metrics.bootstrap_interval(metrics.spearman, targets, predictions, resamples=200)
  assert all(np.isnan(metrics.bootstrap_interval(np.mean, [1.0])))
