"""Fine-tuning as a whole: what is learned, kept, frozen and reported."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from bsm_jax import tokenizer
from bsm_jax.evaluation import metrics, results, suites
from bsm_jax.evaluation.finetune import baseline, linear, loop, objective, run
from bsm_jax.evaluation.finetune.data import Part
from bsm_jax.evaluation.finetune.head import HeadConfig
from bsm_jax.evaluation.finetune.loop import LoopConfig
from bsm_jax.tokenizer import Modality
from configs import (
    finetune,
    finetune_ncrnafam,
    finetune_ncrpi,
    finetune_ppi,
    finetune_protloc,
    finetune_protstab,
)
from tests.bsm_jax.sample_models import random_model

SETTINGS = LoopConfig(learning_rate=3e-3, warmup_steps=4, batch_size=8, epochs=6, patience=0)


@functools.cache
def motifs(count: int, seed: int) -> Part:
  """Proteins of 8 to 20 residues of which those with W in them are of class 1; a k-mer model can tell, too."""
  rng = np.random.default_rng(seed)
  tokens, labels = [], []
  for number in range(count):
    letters = rng.choice(list("ACDEF"), rng.integers(8, 20))
    letters[rng.integers(len(letters))] = "W" if number % 2 else "A"
    tokens.append(tokenizer.encode_document([(Modality.PROTEIN, "".join(letters))]))
    labels.append(number % 2)
  return Part([str(n) for n in range(count)], tokens, np.array(labels), 0, 1, 0, 0)


@functools.cache
def compiled(mode: str, devices: int) -> loop.Program:
  goal = objective.Objective("bce", 1)
  return loop.make_program(random_model(64, devices), HeadConfig(mode, "mean", 2, 4.0), SETTINGS, goal, n_examples=32,
                           max_length=32)  # fmt: skip


def program(mode: str = "full", devices: int = 1, **settings) -> loop.Program:
  """Settings of the loop other than learning rates, which are compiled."""
  return dataclasses.replace(compiled(mode, devices), config=dataclasses.replace(SETTINGS, **settings))


def fit(of_program: loop.Program, seed: int = 0, **options) -> loop.Fit:
  params = random_model(64, of_program.model.places).params
  train, dev = (loop.prepare(of_program, params, part) for part in (motifs(32, 0), motifs(16, 1)))
  return loop.fit(of_program, params, train, dev, seed=seed, metric="accuracy", **options)


def test_full_fine_tuning_learns_a_motif_and_leaves_the_checkpoint_as_it_was():
  params = random_model().params
  before = jax.device_get(params)
  of_program = program()
  found = fit(of_program)
  assert found.steps == 24 and max(e["dev"] for e in found.history) > 0.9
  assert found.history[-1]["loss"] < found.history[0]["loss"]
  test = loop.prepare(of_program, params, motifs(24, 2))
  assert metrics.auc(test.labels, loop.predict(of_program, found.trained, params, test)) > 0.8
  jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(params))
  moved = jax.tree.map(lambda x, y: bool((x != y).any()), found.trained["decoder"], before)
  assert all(jax.tree.leaves(moved))


def test_frozen_parameters_do_not_change_and_have_no_optimizer_state():
  before = jax.device_get(random_model().params)
  of_program = program("lora")
  found = fit(of_program)
  jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(random_model().params))
  assert "decoder" not in found.trained
  trained = sum(x.size for x in jax.tree.leaves(found.trained))
  state = of_program.init(found.trained)
  assert sum(x.size for x in jax.tree.leaves(state["opt_state"])) == 2 * trained + 1  # Two moments, one count.
  assert found.history[-1]["loss"] < found.history[0]["loss"]


def test_a_run_is_repeated_by_its_seed_and_another_seed_is_another_run():
  first, again, other = (fit(program(epochs=1), seed).trained["head"]["weight"] for seed in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_devices_share_a_batch_and_the_result_is_the_same():
  one, four = (fit(program("full", devices, epochs=1)) for devices in (1, 4))
  for a, b in zip(jax.tree.leaves(one.trained), jax.tree.leaves(four.trained)):
    np.testing.assert_allclose(a, b, atol=2e-4)


def test_an_epoch_holds_each_example_once_and_batches_of_like_length():
  documents = [np.full(n, 9, np.uint8) for n in (5, 60, 6, 61, 7, 62, 8, 63, 100, 9)]
  of_program = dataclasses.replace(program(), lengths=[16, 64, 128], config=dataclasses.replace(SETTINGS, batch_size=4))
  found = list(loop.training_batches(of_program, documents, np.random.default_rng(0)))
  assert sorted(row for members, _ in found for row in members) == list(range(10))
  assert sorted(batch.shape for _, batch in found) == [(4, 16), (4, 64), (4, 128)]
  for members, batch in found:
    assert ((batch != tokenizer.PAD).sum(1)[: len(members)] == [len(documents[row]) for row in members]).all()


class Told:
  """Development scores that were decided beforehand, in the place of the metric."""

  def __init__(self, monkeypatch, values):
    monkeypatch.setattr(objective.Objective, "metric", lambda *_: next(self.values))
    self.values = iter(values)


def test_early_stopping_keeps_the_best_and_of_equals_the_first(monkeypatch):
  Told(monkeypatch, [0.5, 0.7, 0.7, 0.6, 0.9])
  found = fit(program(patience=2, epochs=6))
  assert (found.best_step, found.steps) == (8, 16)
  Told(monkeypatch, [0.5, 0.7])
  np.testing.assert_array_equal(found.trained["head"]["weight"],
                                fit(program(patience=0, epochs=2)).trained["head"]["weight"])  # fmt: skip


def test_an_undefined_metric_is_worse_than_any_number(monkeypatch):
  Told(monkeypatch, [float("nan"), -0.5, float("nan")])
  assert fit(program(epochs=3)).best_step == 8


def test_evaluations_may_come_between_epochs_and_the_last_step_has_one():
  assert [e["step"] for e in fit(program(eval_every_steps=3, epochs=2)).history] == [3, 6, 8]


def test_a_loss_that_is_not_finite_ends_the_run_with_a_remedy():
  of_program, params = program(), random_model().params
  broken = params | {"final_norm": params["final_norm"] * np.nan}
  train = loop.prepare(of_program, broken, motifs(32, 0))
  with pytest.raises(loop.FinetuneError, match="by step 4: lower optimizer.learning_rate"):
    loop.fit(of_program, broken, train, train, seed=0, metric="accuracy")
  probe = program("probe")
  train = loop.prepare(probe, broken, motifs(32, 0))
  with pytest.raises(loop.FinetuneError, match="features are not finite"):
    loop.fit(probe, broken, train, train, seed=0, metric="accuracy")


# --- probes


def test_a_probe_leaves_the_checkpoint_as_it_was_and_its_head_does_not_depend_on_a_seed():
  before = jax.device_get(random_model().params)
  first, other = (fit(program("probe"), seed) for seed in (0, 1))
  jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(random_model().params))
  assert set(first.trained) == {"head"}
  jax.tree.map(np.testing.assert_array_equal, first.trained, other.trained)
  assert first.history[0]["loss"] < first.history[-1]["loss"] < np.log(2)  # Penalties rise.


def test_a_probe_finds_what_features_hardly_vary_by():
  rng = np.random.default_rng(0)
  common, labels = rng.normal(size=300), rng.integers(0, 2, 300)
  # The class is in the difference of two features that are all but equal, beside one of another scale.
  features = np.stack([common, common + 0.05 * (labels - 0.5), 1e4 * rng.normal(size=300)], 1).astype(np.float32)
  of_program = program("probe")
  train, dev = (loop.Prepared(features[part], labels[part]) for part in (slice(200), slice(200, 300)))
  found = loop.fit(of_program, {}, train, dev, seed=0, metric="auc")
  assert metrics.auc(dev.labels, loop.predict(of_program, found.trained, {}, dev)) > 0.99


@pytest.mark.parametrize(("loss", "bias"), [("bce", True), ("bce", False), ("cce", True), ("mse", False)])
def test_a_linear_model_is_at_the_least_of_its_loss_and_penalty(loss, bias):
  rng = np.random.default_rng(0)
  features = rng.normal(size=(60, 3))
  labels = (features @ [1.0, -1.0, 0.0] + rng.normal(size=60) > 0).astype(int) + (features[:, 2] > 1) * (loss == "cce")
  goal = objective.Objective(loss, 3 if loss == "cce" else 1, (1.0, 2.0, 3.0) if loss == "cce" else ())
  metric = "spearman" if loss == "mse" else "accuracy"
  found = linear.fit(features, features, (labels, labels), goal, metric, bias=bias)

  def value(weight, constant):
    losses = np.asarray(goal.losses(np.float32(features @ weight + constant), goal.targets(labels)), np.float64)
    penalty = found.best["penalty"] / 2 * (weight**2).sum()
    return (losses * goal.example_weights(labels)).mean() + penalty

  least = value(found.weight, found.bias)
  assert value(found.weight, 0 * found.bias) >= least - 1e-6
  for _ in range(20):
    moved = found.weight + 0.1 * rng.normal(size=found.weight.shape)
    assert value(moved, found.bias + bias * 0.1 * rng.normal(size=found.bias.shape)) > least
  assert bias or not found.bias.any()


def test_the_learning_rate_warms_up_and_falls_to_its_share():
  config = LoopConfig(learning_rate=1.0, warmup_steps=4, final_share=0.5)
  rates = [float(loop.learning_rates(config, 14, step)) for step in (0, 3, 4, 9, 14)]
  np.testing.assert_allclose(rates, [0.25, 1.0, 1.0, 0.75, 0.5])


# --- losses and metrics


def test_balanced_weights_give_each_class_the_same_say():
  labels = np.array([0] * 6 + [1] * 2 + [2] * 4)
  weights = objective.make_objective("cce", "accuracy", "balanced", labels, 3).example_weights(labels)
  assert [float(weights[labels == c].sum()) for c in range(3)] == [4.0] * 3
  listed = objective.make_objective("bce", "auc", "1,2.5", np.array([0, 1]), 2)
  assert listed.example_weights(np.array([1, 0])).tolist() == [2.5, 1.0]


def test_class_weights_reach_the_gradient():
  weighted = dataclasses.replace(program("probe"), objective=objective.Objective("bce", 1, (1.0, 50.0)))
  plain, moved = (fit(of_program).trained["head"]["bias"] for of_program in (program("probe"), weighted))
  assert moved[0] > plain[0]


def test_numbers_are_learned_standardized_and_predicted_as_they_were():
  goal = objective.make_objective("mse", "spearman", "none", np.array([10.0, 14.0]), 0)
  assert goal.targets(np.array([14.0, 12.0])).tolist() == [1.0, 0.0]
  assert goal.scores(np.array([[1.0], [-1.0]])).tolist() == [14.0, 10.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("hinge", "accuracy", "none"), "use one of bce, cce, mse"),
     (("mse", "accuracy", "none"), "is not of loss mse: use one of spearman, pearson"),
     (("mse", "spearman", "balanced"), "there are no classes"),
     (("cce", "accuracy", "balanced"), "class 2 has no training example"),
     (("cce", "accuracy", "1,2"), "3 positive numbers are needed"),
     (("cce", "accuracy", "heavy"), "write none, balanced, or numbers")],
)  # fmt: skip
def test_losses_and_weights_that_do_not_go_together_say_why(arguments, message):
  with pytest.raises(objective.ObjectiveError, match=message):
    objective.make_objective(*arguments, np.array([0, 1, 0]), 3)


# --- the baseline and the command


def test_kmers_of_each_place_have_columns_of_their_own():
  pair = lambda a, b: tokenizer.encode_document([(Modality.RNA, a), (Modality.PROTEIN, b)])
  found = baseline.kmer_counts([pair("acac", "MK"), pair("aca", "MK"), pair("a", "MK")], dict.fromkeys(Modality, 2))
  assert found.getnnz(1).tolist() == [3, 3, 1]
  norm = np.hypot(np.log(3), np.log(2))
  np.testing.assert_allclose(sorted(found[0].data), [np.log(2) / norm, np.log(3) / norm, 1.0])


@pytest.mark.parametrize(("loss", "metric"), [("bce", "auc"), ("cce", "accuracy"), ("mse", "spearman")])
def test_the_kmer_baseline_learns_the_motif_with_any_loss(loss, metric):
  train, dev, test = motifs(32, 0), motifs(16, 1), motifs(24, 2)
  goal = objective.make_objective(loss, metric, "none", train.labels, 2)
  found, about = baseline.scores(train, dev, test, goal, metric, {m: 1 for m in Modality})
  assert goal.metric(metric, test.labels, found) > 0.8 and about["penalty"] in linear.PENALTIES


@pytest.fixture
def config(tmp_path):
  for name, part in (("train", motifs(32, 0)), ("dev", motifs(16, 1)), ("test", motifs(24, 2))):
    lines = [f"{tokenizer.decode(t[2:-1])},{label}\n" for t, label in zip(part.tokens, part.labels)]
    (tmp_path / f"{name}.csv").write_text("seq,label\n" + "".join(lines))
  config = finetune.get_config()
  config.task, config.mode, config.pool, config.seeds = "motif", "probe", "mean", (0, 1)
  config.optimizer.learning_rate, config.epochs, config.resamples = 0.03, 2, 20
  config.data.update({"layout": "csv", "root": str(tmp_path), "train": "train.csv", "dev": "dev.csv",
                      "test": "test.csv", "columns": "seq=protein", "max_length": 32})  # fmt: skip
  return config


def test_a_result_carries_all_that_it_depends_on_and_the_test_data_is_asked_once(config, tmp_path, monkeypatch, capsys):
  sizes = []
  predict = loop.predict
  monkeypatch.setattr(loop, "predict", lambda *args: sizes.append(len(args[-1].labels)) or predict(*args))
  config.baselines = "kmer"
  result = run.finetune(config, random_model(), str(tmp_path / "out"))
  assert sizes.count(24) == len(config.seeds)
  assert json.loads((tmp_path / "out" / "result.json").read_text())["metrics"] == result["metrics"]
  assert {*result} >= {"task", "version", "metrics", "intervals", "counts", "seed", "data", "truncation", "checkpoint",
                       "code"}  # fmt: skip
  assert [x["seed"] for x in result["seeds"]] == [0, 1] and result["counts"]["test"] == 24
  assert result["metrics"]["accuracy"] == np.mean([x["metrics"]["accuracy"] for x in result["seeds"]])
  low, high = result["intervals"]["accuracy"]
  assert low <= result["metrics"]["accuracy"] <= high and len(result["data"]["test.csv"]) == 64
  assert "kmer" in capsys.readouterr().out


def test_a_fine_tuned_model_stands_in_the_table_beside_its_baselines_and_the_papers_figure(config, tmp_path):
  config.task, config.baselines = "PPI", "untrained,kmer"
  result = run.finetune(config, random_model(), str(tmp_path / "out" / "ppi"))
  read = results.read_all(tmp_path / "out")
  results.write_tables(read, suites.PAPER, tmp_path / "out")
  table = results.table(read, suites.PAPER)
  rows = [dict(zip(table.columns, row)) for row in table.rows]
  rows = [row for row in rows if row["figure"] == "accuracy"]
  assert [row["model"] for row in rows[1:]] == ["baseline: untrained", "baseline: kmer"]
  arms = [result, *result["baselines"].values()]
  assert [row["ours"] for row in rows] == [arm["metrics"]["accuracy"] for arm in arms]
  assert [row["BSM-110M"] for row in rows] == [0.975, None, None]
  text = (tmp_path / "out" / "results.md").read_text()
  assert "LucaOne 0.9748" in text and "Data from CSV files of one's own" in text and "mode=probe" in text


def test_figures_of_the_paper_are_the_same_in_configs_and_in_the_table():
  for task in (finetune_ncrnafam, finetune_ncrpi, finetune_ppi, finetune_protloc, finetune_protstab):
    config = task.get_config()
    figure = suites.PAPER[config.task]
    assert figure.metric == config.metric
    ours = {"BSM-110M": figure.bsm_110m, "BSM-270M": figure.bsm_270m}
    assert {name: value for name, value in ours.items() if value} == {
        name: value for name, value in config.paper.items() if name in ours
    }


def test_each_seed_says_which_code_made_it_and_a_result_of_several_says_so(config, tmp_path, monkeypatch):
  config.baselines, config.seeds, out = "", (0,), str(tmp_path / "out")
  monkeypatch.setattr(results, "commit", lambda: "a" * 40)
  run.finetune(config, random_model(), out)
  monkeypatch.setattr(results, "commit", lambda: "b" * 40)
  config.seeds = (0, 1)
  found = run.finetune(config, random_model(), out)  # another commit does not keep it from going on
  assert [of_seed["code"]["commit"][0] for of_seed in found["seeds"]] == ["a", "b"]
  assert any("different commits" in note for note in found["notes"]) and found["code"]["commit"] == "b" * 40
  assert json.loads((tmp_path / "out" / "about.json").read_text())["code"]["commit"] == "b" * 40


def test_a_stopped_command_goes_on_behind_its_finished_seeds(config, tmp_path, monkeypatch):
  config.baselines, config.seeds, config.save = "", (0,), True
  out = str(tmp_path / "out")
  first = run.finetune(config, random_model(), out)
  with np.load(tmp_path / "out" / "checkpoint" / "seed_0.npz") as saved:
    assert saved["head/weight"].shape == (48, 1) and "decoder/layers/01/qkv" in saved
  fits, fit = [], loop.fit
  monkeypatch.setattr(loop, "fit", lambda *args, **settings: fits.append(settings["seed"]) or fit(*args, **settings))
  config.seeds = (0, 1)
  second = run.finetune(config, random_model(), out)
  assert fits == [1] and second["seeds"][0]["metrics"] == first["seeds"][0]["metrics"]
  config.pool = "last"
  with pytest.raises(ValueError, match="made with another settings: give another --out"):
    run.finetune(config, random_model(), out)


def test_an_untrained_model_is_another_for_each_seed(config, tmp_path):
  config.baselines = "untrained"
  result = run.finetune(config, random_model(), str(tmp_path / "out"))
  first, second = result["baselines"]["untrained"]["seeds"]
  assert first["history"] != second["history"]


@pytest.mark.parametrize(("key", "value", "message"), [
    ("baselines", "knn", "no 'knn'; there are untrained, kmer"), ("seeds", (), "give at least one"),
    ("data", {"max_length": 65}, "exceeds the 64 tokens .*beyond_context=True"),
])  # fmt: skip
def test_a_command_that_cannot_work_says_so_before_any_training(config, tmp_path, key, value, message):
  config.update({key: value})
  with pytest.raises(loop.FinetuneError, match=message):
    run.finetune(config, random_model(), str(tmp_path / "out"))
