"""Runs of a sweep to a winner and a proposal that the next round can read; the runs are written here, not trained."""

import csv
import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from ml_collections import ConfigDict

from bsm_jax import mixture_search
from bsm_jax.mixtures import law as law_lib
from bsm_jax.mixtures import proposal as proposal_lib
from bsm_jax.mixtures.runs import SearchError, read_search
from bsm_jax.training import program
from configs import bsm_110m

ROOT = pathlib.Path(__file__).parents[2]
RATIOS = [(10, 2, 1), (10, 0.1, 0.05), (10, 6, 0.25), (10, 0.5, 4), (10, 16, 8), (10, 0.5, 0.25), (10, 5, 2.5),
          (10, 32, 0.5), (10, 1, 24)]  # fmt: skip
PARTS = {"single_dna": 0.5, "single_protein": 0.5, "refseq_pairs_whole": 1.0, "gene_related_whole": 1.0}
METRICS = ["valid/single_dna/loss", "valid/single_protein/loss"]
TRUTH = law_lib.Law("exponential", np.array([1.2, 2.4]), np.array([[-3.0, -1.0, -1.5], [-0.5, -4.0, -2.0]]))
STEPS = 100


def weights_of(ratio: tuple[float, ...]) -> dict[str, float]:
  single, pairs, related = ratio
  of_corpus = dict(zip(PARTS, (single, single, pairs, related)))
  return {row_set: part * of_corpus[row_set] for row_set, part in PARTS.items()}


def write_run(
  folder: pathlib.Path, ratio: tuple[float, ...], *, seed: int = 0, noise: float = 1e-3, step: int = STEPS,
  losses: tuple[float, float] | None = None, **changes,
) -> pathlib.Path:  # fmt: skip
  """A run directory as train leaves it, its losses from the true law; `changes` are of the config."""
  config = bsm_110m.get_config()
  config.seed, config.data.batch_size, config.data.context, config.data.root = seed, 4, 64, "ROWS"
  config.init_from = "RUN@round1"
  tokens = float(STEPS * 4 * 64)
  config.rounds = ConfigDict({"search_round2": {
      "tokens": tokens, "weights": weights_of(ratio), "lr_start": 1e-3, "lr_end": 0.0, "warmup_tokens": 0.0,
  }})  # fmt: skip
  config.eval.row_sets = ConfigDict({"single_dna": 8, "single_protein": 8, "refseq_pairs_whole": 8})
  config.update_from_flattened_dict(changes)
  folder.mkdir(parents=True)
  (folder / "config.json").write_text(config.to_json_best_effort())
  if losses is None:
    rng = np.random.default_rng([seed, *(int(100 * part) for part in ratio)])
    losses = TRUTH(np.array([ratio]) / sum(ratio))[0] + rng.normal(0, noise, 2)
  values = {metric: loss for metric, loss in zip(METRICS, losses) if math.isfinite(loss)}
  lines = [{"step": 0, "kind": "valid", **dict.fromkeys(METRICS, 4.0)}, {"step": step, "kind": "valid", **values}]
  (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
  return folder


@pytest.fixture
def sweep(tmp_path) -> pathlib.Path:
  """Nine finished runs of one seed."""
  for number, ratio in enumerate(RATIOS):
    write_run(tmp_path / "sweep" / f"run{number}", ratio)
  return tmp_path / "sweep"


def search(*folders: pathlib.Path, out: pathlib.Path, **options) -> tuple[str, dict]:
  """What the command prints, and the file that it writes."""
  text = mixture_search.search_and_write(read_search([str(f) for f in folders], **options), out)
  return text, json.loads(out.read_text())


# The winner


def test_the_lowest_weighted_loss_wins(sweep, tmp_path):
  truths = [float(TRUTH(np.array([ratio]) / sum(ratio)).mean()) for ratio in RATIOS]
  text, said = search(sweep, out=tmp_path / "round2.json")
  assert said["from"] == [str(sweep / f"run{np.argmin(truths)}")]
  assert said["objective"] == dict.fromkeys(METRICS, 0.5)
  assert said["value"] == pytest.approx(min(truths), abs=5e-3)
  assert [row["value"] for row in said["table"]] == sorted(row["value"] for row in said["table"])
  ratio = " : ".join(f"{100 * share:.3g}" for share in said["table"][0]["shares"].values())
  assert f"Lowest: {ratio} % at {said['value']:.4f} ({said['from'][0]})." in text
  assert "Nothing is known of the spread between runs" in text and "Seeds shift" not in text


def test_the_weights_of_the_objectives_decide(sweep, tmp_path):
  _, dna = search(sweep, out=tmp_path / "dna.json", objectives=METRICS, weights=[1, 0])
  _, protein = search(sweep, out=tmp_path / "protein.json", objectives=METRICS[1:])
  assert dna["table"][0]["shares"]["single"] > 0.9 and protein["table"][0]["shares"]["refseq_pairs"] > 0.7
  assert dna["value"] == dna["table"][0]["losses"][METRICS[0]]


@pytest.mark.parametrize("name", ["round2.json", "round2_proposal.json"])
def test_the_next_round_reads_what_the_search_wrote(sweep, tmp_path, name):
  search(sweep, out=tmp_path / "round2.json")
  config = bsm_110m.get_config("round2")
  config.rounds.round2.weights_file = str(tmp_path / name)
  weights = json.loads((tmp_path / name).read_text())["weights"]
  (of_round,) = program.schedule(program.with_mixtures(config)).rounds
  assert of_round.weights == weights
  assert sum(weights.values()) == pytest.approx(1.0, abs=1e-6)
  # Inside the corpus the proportions of the runs.
  assert weights["single_dna"] == pytest.approx(weights["single_protein"])


def write_seeds(tmp_path: pathlib.Path, losses: dict[str, dict[int, float]]) -> list[pathlib.Path]:
  """A folder for each seed; `losses` is mixture -> seed -> loss of DNA, that of proteins is 2."""
  ratios = {"a": RATIOS[0], "b": RATIOS[1], "c": RATIOS[4]}
  for name, of_seed in losses.items():
    for seed, loss in of_seed.items():
      write_run(tmp_path / f"s{seed}" / name, ratios[name], seed=seed, losses=(loss, 2.0))
  return sorted(tmp_path.glob("s?"))


def test_seeds_are_averaged_and_a_tie_within_their_spread_is_called_one(tmp_path):
  folders = write_seeds(tmp_path, {"a": {0: 1.48, 1: 1.52}, "b": {0: 1.53, 1: 1.49}, "c": {0: 2.5, 1: 2.5}})
  text, said = search(*folders, out=tmp_path / "o.json")
  assert [len(row["runs"]) for row in said["table"]] == [2, 2, 2]
  assert said["value"] == pytest.approx(1.75) and said["spread"] == pytest.approx(0.02 / math.sqrt(2))
  assert said["ties"] == [[str(tmp_path / "s0" / "b"), str(tmp_path / "s1" / "b")]]
  # Residuals of the weighted loss: +-0.01, +-0.01 and 0 about means without a shift; 6 runs, 3 mixtures, 2 seeds.
  assert f"Spread between runs {0.02 / math.sqrt(2):.4f} (2 degrees of freedom): a tie with 98.5 : 0.985 :" in text


def test_a_difference_beyond_the_seeds_spread_is_no_tie(tmp_path):
  folders = write_seeds(tmp_path, {"a": {0: 1.499, 1: 1.501}, "b": {0: 1.601, 1: 1.599}, "c": {0: 2.5, 1: 2.5}})
  text, said = search(*folders, out=tmp_path / "o.json")
  assert said["ties"] == [] and "no other mixture is within it" in text


def test_what_a_seed_shifts_all_its_runs_by_makes_no_tie(tmp_path):
  """The second seed begins at a worse run: 0.4 in all its losses, and a little noise."""
  mixtures = {"a": {0: 1.50, 1: 1.901}, "b": {0: 1.53, 1: 1.929}, "c": {0: 1.60, 1: 2.0}}
  text, said = search(*write_seeds(tmp_path, mixtures), out=tmp_path / "o.json")
  assert said["ties"] == [] and said["value"] == pytest.approx((1.7005 + 2) / 2)
  assert said["seed_shifts"] == pytest.approx({"0": -0.1, "1": 0.1})
  assert "Seeds shift all their runs by -0.1000 (seed 0), +0.1000 (seed 1), which is taken out." in text


def test_a_mixture_run_with_the_better_seed_alone_does_not_win_by_that(tmp_path):
  mixtures = {"a": {0: 1.50, 1: 1.90}, "b": {0: 1.53, 1: 1.93}, "c": {0: 1.60}}
  text, said = search(*write_seeds(tmp_path, mixtures), out=tmp_path / "o.json")
  assert [pathlib.Path(row["runs"][0]).name for row in said["table"]] == ["a", "b", "c"]
  values = np.array([row["value"] for row in said["table"]])
  assert values - values[0] == pytest.approx([0, 0.015, 0.05])


def test_a_second_seed_of_the_winner_alone_says_nothing_of_the_spread(tmp_path):
  text, said = search(*write_seeds(tmp_path, {"a": {0: 1.5, 1: 1.52}, "b": {0: 1.6}}), out=tmp_path / "o.json")
  assert said["ties"] == []
  assert "Nothing is known of the spread between runs, nor whether this is a tie" in text


def test_seeds_without_a_mixture_in_common_are_refused(tmp_path):
  folders = write_seeds(tmp_path, {"a": {0: 1.5, 1: 1.5}, "b": {2: 1.6}, "c": {2: 1.6}})
  with pytest.raises(SearchError, match="no mixture was run both with seed 0, 1 and with 2: .* Run one mixture"):
    read_search([str(folder) for folder in folders])


# Runs that do not count


def test_unfinished_and_diverged_runs_are_left_out_and_named(sweep, tmp_path):
  write_run(sweep / "short", (10, 3, 3), step=60, losses=(0.1, 0.1))
  write_run(sweep / "diverged", (10, 3, 1), losses=(math.nan, 0.1))
  (write_run(sweep / "empty", (10, 4, 1)) / "metrics.jsonl").write_text("")
  text, said = search(sweep, out=tmp_path / "o.json")
  assert len(said["table"]) == 9 and said["value"] > 1
  assert "left out: short: at step 60 of 100, unfinished" in text
  assert "left out: diverged: no finite valid/single_dna/loss at its end: diverged" in text
  assert any(line.startswith("empty: ") and "no metrics yet" in line for line in said["left_out"])


def test_a_search_without_a_finished_run_is_refused(tmp_path):
  write_run(tmp_path / "sweep" / "short", RATIOS[0], step=60)
  with pytest.raises(SearchError, match=r"no run in .* is finished .*\n  short: at step 60 of 100"):
    read_search([str(tmp_path / "sweep")])


@pytest.mark.parametrize(
  ("changes", "expected"),
  [
    ({"optimizer.b2": 0.9}, "differ in more than mixture and seed: optimizer.b2"),
    ({"rounds.search_round2.lr_start": 1e-4}, "mixture and seed: rounds.search_round2.lr_start"),
    ({"init_from": "OTHER@round1"}, r"have one seed and begin at different runs \(init_from\)"),
  ],
)
def test_runs_that_differ_in_more_than_mixture_and_seed_are_refused(sweep, changes, expected):
  write_run(sweep / "other", (10, 3, 3), **changes)
  with pytest.raises(SearchError, match=expected):
    read_search([str(sweep)])


def test_one_run_twice_is_no_second_seed(sweep):
  write_run(sweep / "again", RATIOS[0])
  with pytest.raises(SearchError, match="the same mixture and the same seed"):
    read_search([str(sweep)])


def test_objectives_and_weights_have_to_fit(sweep):
  with pytest.raises(SearchError, match="--weights has 3 numbers for 2 objectives"):
    read_search([str(sweep)], weights=[1, 1, 1])
  with pytest.raises(SearchError, match="no finite valid/nothing/loss at its end"):
    read_search([str(sweep)], ["valid/nothing/loss"])
  with pytest.raises(SearchError, match="there is no folder nowhere"):
    read_search(["nowhere"])


# The law and its proposal


def test_the_proposal_is_better_than_the_winner_and_says_how_sure_it_is(sweep, tmp_path):
  text, said = search(sweep, out=tmp_path / "o.json")
  proposal = said["proposal"]
  true = lambda shares: float((TRUTH(np.array([list(shares.values())]))).mean())
  shares = {"single": 0.0, "refseq_pairs": 0.0, "gene_related": 0.0} | proposal["shares"]
  assert true(shares) < min(true(row["shares"]) for row in said["table"])
  assert abs(proposal["value"] - true(shares)) < 5 * proposal["law_spread"] + 1e-4
  for corpus, share in proposal["shares"].items():
    assert proposal["low"][corpus] - 0.02 <= share <= proposal["high"][corpus] + 0.02
  assert proposal["explained"] > 0.9 and "do not rely" not in text
  errors = said["law"]["error_left_out"]
  assert errors["exponential"] < errors["mean"]
  assert f"predicting the mean {errors['mean']:.5f}" in text
  assert json.loads((tmp_path / "o_proposal.json").read_text()) == proposal


def test_a_proposal_that_is_the_winner_says_so_and_is_not_tried_again(sweep, tmp_path):
  """More pairs are better without end: the law can only name the most that was tried."""
  text, said = search(sweep, out=tmp_path / "o.json", objectives=METRICS[1:])
  assert said["proposal"]["shares"] == pytest.approx(said["table"][0]["shares"], abs=1e-3)
  assert "this is the winner's own mixture" in text and "below the winner" not in text
  assert "DIR_OF_PROPOSAL" not in text
  assert (tmp_path / "o_proposal.json").exists()


def test_the_law_is_that_of_runs_without_their_seeds_shifts(tmp_path):
  """Three seeds at beginnings far apart: as good a law as that of one seed, and the same proposal."""
  for seed, shift in ((0, 0.0), (1, 0.5), (2, -0.3)):
    for number, ratio in enumerate(RATIOS):
      noise = np.random.default_rng([seed, number]).normal(0, 1e-3, 2)
      losses = TRUTH(np.array([ratio]) / sum(ratio))[0] + shift + noise
      write_run(tmp_path / f"s{seed}" / f"run{number}", ratio, seed=seed, losses=tuple(losses))
  _, one = search(tmp_path / "s0", out=tmp_path / "one.json")
  text, said = search(*(tmp_path / f"s{seed}" for seed in range(3)), out=tmp_path / "o.json")
  assert said["law"]["error_left_out"]["exponential"] < 2 * one["law"]["error_left_out"]["exponential"]
  assert list(said["seed_shifts"].values()) == pytest.approx([-1 / 15, 0.5 - 1 / 15, -0.3 - 1 / 15], abs=2e-3)
  for corpus, share in said["proposal"]["shares"].items():
    assert share == pytest.approx(one["proposal"]["shares"][corpus], abs=0.1)
  assert "(its seed's shift apart)" in text


def test_too_few_runs_refuse_the_law_and_still_name_the_winner(tmp_path):
  for number, ratio in enumerate(RATIOS[:3]):
    write_run(tmp_path / "sweep" / f"run{number}", ratio)
  (tmp_path / "o_proposal.json").write_text('{"weights": {"single_dna": 1}}')
  text, said = search(tmp_path / "sweep", out=tmp_path / "o.json")
  assert "No law is fitted: 3 different mixture(s) of 3 corpora that vary: a law needs 4 or more" in text
  assert said["law"]["refused"] in text and "proposal" not in said
  assert set(said["weights"]) == set(PARTS)
  assert not (tmp_path / "o_proposal.json").exists(), "an earlier call's proposal is not of these runs"
  assert (tmp_path / "o.png").exists()


def test_with_few_runs_the_simpler_form_is_taken_and_that_is_said(tmp_path):
  for number, ratio in enumerate(RATIOS[:5]):
    write_run(tmp_path / "sweep" / f"run{number}", ratio)
  text, said = search(tmp_path / "sweep", out=tmp_path / "o.json")
  assert said["law"]["form"] == "log-linear"
  assert "The law with a floor needs 6 different mixtures; this is the simpler, shrunken form" in text


def test_a_law_of_noise_is_not_to_be_relied_on(tmp_path):
  rng = np.random.default_rng(4)
  for number, ratio in enumerate(RATIOS):
    write_run(tmp_path / "sweep" / f"run{number}", ratio, losses=tuple(2 + rng.normal(0, 0.01, 2)))
  text, said = search(tmp_path / "sweep", out=tmp_path / "o.json")
  assert said["proposal"]["explained"] < 0.5
  assert "It explains less than 50 % of the variance of mixtures left out" in text


def test_a_corpus_in_other_proportions_refuses_the_law(sweep):
  write_run(sweep / "other", (10, 3, 3), **{"rounds.search_round2.weights.single_dna": 9.0})
  with pytest.raises(law_lib.LawError, match="single_dna is not the same part of its corpus in every run"):
    proposal_lib.fit_law(read_search([str(sweep)]))


def test_a_corpus_of_fixed_share_stays_at_it(tmp_path):
  """Web documents at a tenth of the tokens in every run."""
  for number, ratio in enumerate(RATIOS):
    web = {"rounds.search_round2.weights": weights_of(ratio) | {"web_interleaved": sum(ratio) / 9}}
    write_run(tmp_path / "sweep" / f"run{number}", ratio, **web)
  fitted = proposal_lib.fit_law(read_search([str(tmp_path / "sweep")]), bootstrap=5)
  assert fitted.corpora == ["single", "refseq_pairs", "gene_related"]
  assert fitted.weights["web_interleaved"] == pytest.approx(0.1, abs=1e-4)
  assert sum(fitted.weights.values()) == pytest.approx(1.0)


# What is written and printed


def test_table_and_figure_are_written_beside_the_winner(sweep, tmp_path):
  text, said = search(sweep, out=tmp_path / "o.json")
  with (tmp_path / "o.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [float(row["weighted mean"]) for row in rows] == [row["value"] for row in said["table"]]
  assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")
  assert "| single : refseq_pairs : gene_related, % | seeds | single_dna | single_protein | weighted mean |" in text


def test_the_next_commands_name_config_beginning_and_file(sweep, tmp_path):
  given = ["--config.init_from=RUN@round1", "--config.rounds.search_round2.tokens=25600", "--config.data.root=ROWS"]
  for folder in sweep.iterdir():
    arguments = ["--config=configs/bsm_110m.py:search_round2", "--config.rounds.search_round2.weights.single_dna=4.0"]
    (folder / "sweep.json").write_text(json.dumps({"arguments": arguments, "extra": given}))
  text, _ = search(sweep, out=tmp_path / "o.json")
  assert (
    "python -m bsm_jax.train --config=configs/bsm_110m.py:round2 --config.init_from=RUN@round1 --config.data.root=ROWS"
    f" --config.rounds.round2.weights_file={tmp_path}/o.json --workdir=DIR"
  ) in text
  assert (
    f"python -m bsm_jax.train --config=configs/bsm_110m.py:search_round2 {' '.join(given)}"
    f" --config.rounds.search_round2.weights_file={tmp_path}/o_proposal.json --workdir=DIR_OF_PROPOSAL"
  ) in text


def test_without_the_sweeps_note_the_config_is_left_to_the_reader(sweep, tmp_path):
  text, _ = search(sweep, out=tmp_path / "o.json")
  assert "--config=CONFIG:round2 --config.data.root=ROWS --config.init_from=RUN@round1 " in text


def test_the_command_says_what_is_wrong():
  command = [sys.executable, "-m", "bsm_jax.mixture_search", "--workdir=nowhere", "--out=x.json"]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 1 and "error: there is no folder nowhere" in done.stderr
