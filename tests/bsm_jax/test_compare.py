import base64
import csv
import json
import math
import pathlib
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy import stats

from bsm_jax import compare, report
from bsm_jax.comparison import figures, groups, tables
from bsm_jax.comparison.groups import CompareError

DNA, RNA = "valid/single_dna/dna", "valid/single_rna/rna"
MODEL = {"n_layers": 2, "n_heads": 2, "d_model": 16, "head_dim": 8, "d_ff": 32}


def write_run(folder, *, seed=0, dna=(4.0, 2.0, 1.5), more=(), version="0.1.0", **overrides):
  """A run of two rounds of 10 steps with 4 x 100 tokens, with a validation after 0, 10 and 20 steps."""
  weights = {"single_dna": 3.0, "pairs": 1.0, "unused": 0.0}
  rounds = {
      name: {"tokens": 4000, "weights": weights, "lr_start": 1e-3, "lr_end": 0.0} for name in ("round2", "round1")
  }
  config = {
      "seed": seed, "model": MODEL, "data": {"root": "rows", "context": 100, "batch_size": 4}, "rounds": rounds,
      "eval": {"row_sets": {"single_dna": 8}}, "figures": {"Translation": {"given DNA": "valid/translate/protein"}},
  }  # fmt: skip
  for key, value in overrides.items():
    *above, name = key.split("__")
    place = config
    for part in above:
      place = place[part]
    place[name] = value
  lines = [{"step": 0, "kind": "start", "version": version}]
  lines += [{"step": 10 * i, "kind": "valid", "round": "round1", DNA: value} for i, value in enumerate(dna)]
  lines += more
  folder.mkdir(parents=True)
  (folder / "config.json").write_text(json.dumps(config))
  (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_arms(folder, *, seeds=3, **of_single):
  """Runs `mixed_0`, ... which end near 1.5 bits, and `single_0`, ... which end 0.5 bits higher."""
  for seed in range(seeds):
    write_run(folder / f"mixed_{seed}", seed=seed, dna=(4.0, 2.0, 1.5 + 0.01 * seed))
    write_run(folder / f"single_{seed}", seed=seed, dna=(4.0, 2.5, 2.0 + 0.02 * seed), **of_single)
  return [f"mixed={folder}/mixed_*", f"single={folder}/single_*"]


def read_rows(path, delimiter=","):
  with open(path) as file:
    return list(csv.DictReader(file, delimiter=delimiter))


class Page(HTMLParser):
  """Tags, attributes and text of a page."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.attributes, self.text = [], [], []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes += attrs

  def handle_data(self, data):
    self.text.append(data)


# Groups


def test_a_group_is_every_matching_folder_in_the_order_of_seeds(tmp_path):
  for seed in (10, 2, 1):
    write_run(tmp_path / f"a_{seed}", seed=seed)
  (tmp_path / "a_1.log").write_text("")
  write_run(tmp_path / "elsewhere/b", seed=0)
  group = groups.read_group(f"mixed={tmp_path}/a_*,{tmp_path}/elsewhere/b")
  assert group.label == "mixed" and [run.seed for run in group.runs] == [0, 1, 2, 10]


def test_rounds_follow_each_other_by_name_and_rows_by_weight(tmp_path):
  write_run(tmp_path / "a")
  group = groups.read_group(f"a={tmp_path}/a")
  assert group.stages() == [("round1", 10), ("training", 20)]
  assert group.rows() == {"single_dna": 60, "pairs": 20}


def test_runs_that_differ_in_more_than_seed_and_paths_are_refused_with_the_keys(tmp_path):
  write_run(tmp_path / "a_0", seed=0)
  write_run(tmp_path / "a_1", seed=1, data__root="copy/of/rows", init_from="runs/1")
  assert len(groups.read_group(f"a={tmp_path}/a_*").runs) == 2
  write_run(tmp_path / "a_2", seed=2, rounds__round1__tokens=4400, optimizer={"b2": 0.9})
  with pytest.raises(CompareError, match=r"a_0 and .*a_2 differ") as error:
    groups.read_group(f"a={tmp_path}/a_*")
  named = re.findall(r"^  (\S+): (.*)$", str(error.value), re.MULTILINE)
  assert named == [("optimizer.b2", "absent and 0.9"), ("rounds.round1.tokens", "4000 and 4400")]


def test_the_same_seed_twice_is_refused(tmp_path):
  write_run(tmp_path / "a_0", seed=3)
  write_run(tmp_path / "a_1", seed=3)
  with pytest.raises(CompareError, match="have the same seed, 3"):
    groups.read_group(f"a={tmp_path}/a_*")


@pytest.mark.parametrize("text", ["runs/*", "=runs/*", "mixed="])
def test_a_group_without_label_or_glob_is_refused(text):
  with pytest.raises(CompareError, match="give a label and a glob"):
    groups.read_group(text)


def test_no_group_an_empty_one_and_two_of_one_name_are_refused(tmp_path):
  write_run(tmp_path / "a")
  with pytest.raises(CompareError, match="no runs are given"):
    groups.read_groups([])
  with pytest.raises(CompareError, match="no folder matches"):
    groups.read_groups([f"a={tmp_path}/b_*"])
  with pytest.raises(CompareError, match="two groups are called 'a'"):
    groups.read_groups([f"a={tmp_path}/a", f"a={tmp_path}/a"])


def test_a_folder_that_is_no_run_with_metrics_is_refused(tmp_path):
  write_run(tmp_path / "a", dna=())
  with pytest.raises(CompareError, match="has no metrics yet"):
    groups.read_group(f"a={tmp_path}/a")
  (tmp_path / "a/metrics.jsonl").write_text("{oops\n")
  with pytest.raises(CompareError, match="a line that is no JSON"):
    groups.read_group(f"a={tmp_path}/a")
  (tmp_path / "a/config.json").write_text('{"seed": 1}')
  with pytest.raises(CompareError, match="is no config of bsm_jax.train"):
    groups.read_group(f"a={tmp_path}/a")
  (tmp_path / "a/config.json").unlink()
  with pytest.raises(CompareError, match="is no run directory"):
    groups.read_group(f"a={tmp_path}/a")


# Tables


def test_values_are_mean_and_deviation_over_seeds_at_the_end_of_each_round(tmp_path):
  mixed, single = groups.read_groups(write_arms(tmp_path))
  assert tables.values([mixed, single], [DNA]).rows == [
      [DNA, "round1", "mixed", 4000, 2.0, 0.0, 3, 3],
      [DNA, "round1", "single", 4000, 2.5, 0.0, 3, 3],
      [DNA, "training", "mixed", 8000, pytest.approx(1.51), pytest.approx(0.01), 3, 3],
      [DNA, "training", "single", 8000, pytest.approx(2.02), pytest.approx(0.02), 3, 3],
  ]


def test_welch_interval_is_the_textbooks():
  a, b = [1.0, 2.0, 4.0], [2.5, 6.0, 3.5, 9.0]
  (welch,) = tables.intervals(dict(enumerate(a)), dict(enumerate(b)))
  # Welch-Satterthwaite.
  parts = [np.var(x, ddof=1) / len(x) for x in (a, b)]
  freedom = sum(parts) ** 2 / sum(part**2 / (len(x) - 1) for part, x in zip(parts, (a, b)))
  mean, half = np.mean(a) - np.mean(b), stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts))
  assert welch == ("Welch", pytest.approx(mean - half), pytest.approx(mean + half))


def test_the_paired_interval_matches_runs_by_seed_and_needs_the_same_seeds():
  a, b = {0: 1.0, 1: 5.0, 2: 9.0}, {2: 9.3, 0: 1.1, 1: 5.2}
  welch, paired = tables.intervals(a, b)
  half = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
  assert paired == ("paired by seed", pytest.approx(-0.2 - half), pytest.approx(-0.2 + half))
  assert welch.low < -5 and welch.high > 5
  assert [i.method for i in tables.intervals(a, {0: 1.1, 1: 5.2, 3: 9.3})] == ["Welch"]


def test_values_without_spread_have_an_interval_without_width():
  assert [i[1:] for i in tables.intervals({0: 1.0, 1: 1.0}, {0: 1.5, 1: 1.5})] == [(-0.5, -0.5)] * 2


def test_a_difference_is_only_seen_where_the_interval_leaves_out_zero(tmp_path):
  write_arms(tmp_path)
  write_run(tmp_path / "noisy_0", seed=0, dna=(4.0, 2.0, 1.0))
  write_run(tmp_path / "noisy_1", seed=1, dna=(4.0, 2.0, 2.1))
  compared = groups.read_groups([f"{name}={tmp_path}/{name}_*" for name in ("mixed", "single", "noisy")])
  found = [(row[1], row[2], row[4], row[-1]) for row in tables.differences(compared, [DNA]).rows]
  assert found == [
      ("mixed - single", "3, 3", "95% Welch", "mixed lower than single"),
      ("mixed - single", "3, 3", "95% paired by seed", "mixed lower than single"),
      ("mixed - noisy", "3, 2", "95% Welch", "no difference seen"),
      ("single - noisy", "3, 2", "95% Welch", "no difference seen"),
  ]


def test_single_runs_get_a_difference_but_no_interval(tmp_path):
  compared = groups.read_groups(write_arms(tmp_path, seeds=1))
  (row,) = tables.differences(compared, [DNA]).rows
  assert row[3] == pytest.approx(-0.5) and row[4:7] == [None] * 3 and "an interval needs two" in row[-1]


def test_unfinished_runs_count_for_the_rounds_they_ended_but_not_for_the_end(tmp_path):
  write_run(tmp_path / "a_0", seed=0)
  write_run(tmp_path / "a_1", seed=1, dna=(4.0, 3.0))
  (group,) = groups.read_groups([f"a={tmp_path}/a_*"])
  assert [row[4:] for row in tables.values([group], [DNA]).rows] == [
      [2.5, pytest.approx(math.sqrt(0.5)), 2, 2], [1.5, None, 1, 2],
  ]  # fmt: skip
  (caveat,) = groups.caveats([group], [DNA])
  assert "1 of 2 runs are unfinished (seed 1 at step 10 of 20)" in caveat


def test_what_weakens_a_comparison_is_said(tmp_path):
  write_run(tmp_path / "a")
  train = {"step": 20, "kind": "train", "round": "round2", "loss": 1.0}
  write_run(tmp_path / "b", dna=(4.0, 2.0), more=[train], version="0.2.0", rounds__round2__tokens=3600,
            eval__row_sets__single_dna=16, data__root="copy")
  write_run(tmp_path / "c", dna=(4.0, 2.0), more=[train])
  compared = groups.read_groups([f"{name}={tmp_path}/{name}" for name in "abc"])
  said = "\n".join(groups.caveats(compared, [DNA]))
  assert "a trains on 8,000 tokens and b on 7,600" in said
  assert "a and b differ in eval.row_sets.single_dna" in said and "a and c differ" not in said
  assert f"c: no {DNA} at the end of training with seed 0" in said
  assert "different versions of the code: 0.1.0; 0.2.0" in said
  assert "rows from different folders (copy, rows)" in said


# Figures


def test_the_figures_table_has_mean_and_range_over_tokens(tmp_path):
  write_run(tmp_path / "a_0", seed=0, dna=(4.0, 2.0, 1.5))
  write_run(tmp_path / "a_1", seed=1, dna=(4.5, 3.0))
  compare.compare([f"a={tmp_path}/a_*"], tmp_path / "out")
  rows = read_rows(tmp_path / "out/validation_loss_on_single_modal_data.csv")
  assert [list(row.values()) for row in rows] == [
      [DNA, "a", "0", "2", "4.25", "4.0", "4.5"],
      [DNA, "a", "4000", "2", "2.5", "2.0", "3.0"],
      [DNA, "a", "8000", "1", "1.5", "1.5", "1.5"],
  ]
  assert (tmp_path / "out/validation_loss_on_single_modal_data.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_panels_show_every_group_with_names_of_rounds_and_how_far_runs_got(tmp_path, monkeypatch):
  write_run(tmp_path / "a_0", seed=0)
  write_run(tmp_path / "a_1", seed=1, dna=(4.0, 3.0))
  write_run(tmp_path / "b", dna=(4.0, 2.2, 1.7))
  saved = []
  monkeypatch.setattr(report, "save", lambda figure, path: saved.append(figure) or str(path))
  compared = groups.read_groups([f"a={tmp_path}/a_*", f"b={tmp_path}/b"])
  figures.draw_curves("Loss", {"DNA": DNA}, compared, tmp_path)
  (axes,) = saved[0].axes
  assert [text.get_text() for text in axes.texts] == ["round1", "round2"]
  legend = [text.get_text() for text in saved[0].legends[0].texts]
  assert legend == ["a (2 runs; 1 unfinished, at step 10 of 20)", "b (1 run)"]
  curves = [line for line in axes.lines if len(line.get_xdata()) == 3]
  thick, thin, of_b, _ = (line.get_ydata().tolist() for line in curves)
  assert thick[:2] == [4.0, 2.5] and math.isnan(thick[2])
  assert math.isnan(thin[0]) and thin[1:] == [2.5, 1.5]
  assert of_b == [4.0, 2.2, 1.7]
  assert len({(line.get_color(), str(line.get_linestyle())) for line in (curves[0], curves[2])}) == 2
  # The beginning lies above the panel: what differs by hundredths must be seen.
  assert axes.get_ylim()[0] < 1.5 and 3.0 < axes.get_ylim()[1] < 4.0


def test_rounds_are_marked_once_for_groups_that_share_them(tmp_path, monkeypatch):
  texts = write_arms(tmp_path, seeds=1)
  write_run(tmp_path / "other", rounds__round1__tokens=8000)
  saved = []
  monkeypatch.setattr(report, "save", lambda figure, path: saved.append(figure) or str(path))
  compared = groups.read_groups([*texts, f"other={tmp_path}/other"])
  figures.draw_curves("Loss", {"DNA": DNA}, compared, tmp_path)
  marks = [(text.get_text(), text.xy[0], text.get_color()) for text in saved[0].axes[0].texts]
  own = report.COLOURS[2]
  assert marks == [("round1", 0, "0.45"), ("round2", 4.0, "0.45"), ("round1", 0, own), ("round2", 8.0, own)]


def test_wanted_metrics_replace_the_default(tmp_path):
  texts = write_arms(tmp_path)
  printed = compare.compare(texts, tmp_path / "out", [f"My DNA!={DNA}"])
  assert {path.name for path in (tmp_path / "out").iterdir()} == {
      "my_dna.png", "my_dna.csv", "values.tsv", "differences.tsv", "report.html",
  }  # fmt: skip
  assert "mixed lower than single" in printed


def test_dollar_signs_in_names_are_no_formula(tmp_path):
  write_run(tmp_path / "a")
  compare.compare([f"$\\frac$={tmp_path}/a"], tmp_path / "out", [f"$\\sqrt$={DNA}"])
  assert (tmp_path / "out/sqrt.png").exists()


def test_a_metric_that_no_run_has_is_refused_with_what_there_is(tmp_path):
  texts = write_arms(tmp_path, seeds=1)
  with pytest.raises(CompareError, match=f"no run has {RNA}; there are {DNA}"):
    compare.compare(texts, tmp_path / "out", [f"both={DNA},{RNA}"])
  assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("texts", [["no metrics"], ["="], ["a=x", "A!=y"], ["«»=x"]])
def test_figures_without_title_metrics_or_a_file_of_their_own_are_refused(texts):
  with pytest.raises(CompareError, match="figure"):
    figures.parse_figures(texts)


def test_without_single_modal_losses_the_configs_figures_are_drawn(tmp_path):
  translate = {"step": 20, "kind": "valid", "round": "round2", "valid/translate/protein": 0.3}
  write_run(tmp_path / "a", dna=(), more=[translate])
  compare.compare([f"a={tmp_path}/a"], tmp_path / "out")
  assert [row["mean"] for row in read_rows(tmp_path / "out/translation.csv")] == ["0.3"]


def test_runs_without_anything_to_draw_are_refused(tmp_path):
  write_run(tmp_path / "a", dna=(), more=[{"step": 1, "kind": "train", "round": "round1", "loss": 2.0}])
  with pytest.raises(CompareError, match="no run has a validation loss yet.*there are loss"):
    compare.compare([f"a={tmp_path}/a"], tmp_path / "out")


def test_few_shot_accuracy_is_drawn_over_demonstrations_from_the_newest_evaluation(tmp_path):
  for seed in range(2):
    shots = [
        {"step": step, "kind": "fewshot", "round": "round2",
         **{f"fewshot/solubility/k{k}": 0.5 + 0.01 * k + 0.1 * seed + 0.001 * step for k in (16, 0, 4)}}
        for step in (10, 20)
    ]  # fmt: skip
    write_run(tmp_path / f"a_{seed}", seed=seed, more=shots)
  compare.compare([f"a={tmp_path}/a_*"], tmp_path / "out")
  rows = read_rows(tmp_path / "out/few_shot.csv")
  assert [(row["task"], row["demonstrations"], row["runs"]) for row in rows] == [
      ("solubility", k, "2") for k in ("0", "4", "16")
  ]
  assert [float(row["mean"]) for row in rows] == pytest.approx([0.57, 0.61, 0.73])
  assert (tmp_path / "out/few_shot.png").exists()


# Files and page


def test_tables_are_written_in_full_and_printed_as_markdown(tmp_path):
  texts = write_arms(tmp_path)
  printed = compare.compare(texts, tmp_path / "out")
  values = read_rows(tmp_path / "out/values.tsv", "\t")
  assert float(values[-1]["standard deviation"]) == pytest.approx(0.02) and values[-1]["runs"] == "3"
  differences = read_rows(tmp_path / "out/differences.tsv", "\t")
  assert [row["interval"] for row in differences] == ["95% Welch", "95% paired by seed"]
  assert float(differences[0]["mean difference"]) == pytest.approx(-0.51)
  assert f"| {DNA} | training | mixed | 8,000 | 1.5100 | 0.0100 | 3 | 3 |" in printed
  assert "it says nothing of other data" in printed


def test_markdown_keeps_a_bar_in_a_label_inside_its_cell():
  assert tables.Table(["a|b"], [["c|d"], [None]]).as_markdown() == "| a\\|b |\n| --- |\n| c\\|d |\n| – |\n"


def test_the_page_holds_its_figures_settings_and_versions_and_loads_nothing(tmp_path):
  texts = write_arms(tmp_path, model={**MODEL, "n_layers": 3})
  compare.compare(texts, tmp_path / "out")
  page = Page((tmp_path / "out/report.html").read_text())
  images = [value for name, value in page.attributes if name == "src"]
  png = (tmp_path / "out/validation_loss_on_single_modal_data.png").read_bytes()
  assert images == ["data:image/png;base64," + base64.b64encode(png).decode()]
  assert not {"script", "link", "iframe"} & set(page.tags)
  at = page.text.index("model.n_layers")
  assert page.text[at + 1 : at + 3] == ["2", "3"]
  assert page.text.index("model.n_layers") < page.text.index("model.n_heads")  # One differs, one is common.
  (run, *_) = groups.read_group(texts[0]).runs
  assert run.config_hash in page.text and "0.1.0" in page.text
  parameters = 2 * (4 * 16 * 16 + 3 * 16 * 32 + 2 * 16) + 128 * 16 + 16
  assert f"{parameters:,}" in page.text and "rows of pairs" in page.text


def test_texts_of_others_are_escaped_in_the_page(tmp_path):
  evil = "<script>alert('x')</script>"
  for arm in "ab":
    write_run(tmp_path / arm, figures={evil: {evil: DNA}}, data__note=f'"><img src=x>{arm}', version=evil)
  compare.compare([f"{evil}={tmp_path}/a", f"b&amp;={tmp_path}/b"], tmp_path / "out", [f"{evil}={DNA}"])
  page = Page((tmp_path / "out/report.html").read_text())
  assert "script" not in page.tags and page.tags.count("img") == 1
  assert f"{evil} against b&amp;" in page.text and evil in page.text


# Command line


@pytest.mark.slow
def test_the_command_prints_the_tables_or_says_in_one_line_what_is_wrong(tmp_path):
  texts = write_arms(tmp_path)
  command = [sys.executable, "-m", "bsm_jax.compare", f"--out={tmp_path}/out"]
  run = lambda *arguments: subprocess.run(
      [*command, *arguments], capture_output=True, text=True, cwd=pathlib.Path(__file__).parents[2]
  )
  done = run(*(f"--group={text}" for text in texts), f"--figure=DNA={DNA}")
  assert done.returncode == 0 and "mixed lower than single" in done.stdout and "report.html" in done.stdout
  refused = run(f"--group=mixed={tmp_path}/none_*")
  assert refused.returncode == 1
  assert [line for line in refused.stderr.splitlines() if line.startswith("error: --group=mixed=")]
