"""Results on disk and in tables, and the command that makes them."""

import dataclasses
import json
import math
import pathlib
from html.parser import HTMLParser

import numpy as np
import pytest

from bsm_jax.evaluation import results, run, suites
from bsm_jax.evaluation.results import PaperFigure, Result
from bsm_jax.evaluation.tasks import fitness, perplexity
from bsm_jax.evaluation.tasks.task import Settings
from bsm_jax.inference import loaded
from bsm_jax.tokenizer import Modality
from tests.bsm_jax.sample_models import random_model

RESULT = Result(
    task="fitness_protein", version="1", metrics={"spearman": 0.3, "spearman/A": math.nan},
    intervals={"spearman": (0.2, 0.4)}, counts={"variants": 7}, seed=0, data={"a.csv": "0" * 64},
    truncation={"policy": "none is cut", "share": 0.25}, checkpoint={"run": "runs/x", "step": 3, "sha256": "a" * 64},
    code={"version": "1", "commit": None}, parameters=1_000_000, notes=("A <b>note</b>.",),
)  # fmt: skip
SETTINGS = Settings(resamples=20)
FASTA = ">one\nMKTAYIAKQR\n>two\nMAV\n"


def test_a_result_is_the_same_after_writing_and_reading(tmp_path):
  path = results.write(RESULT, tmp_path / "new")
  assert path.name == "fitness_protein.json"
  json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
  read = results.read(path)
  assert math.isnan(read.metrics["spearman/A"])
  assert dataclasses.replace(read, metrics={}) == dataclasses.replace(RESULT, metrics={})
  assert [path.name for path in (tmp_path / "new").iterdir()] == ["fitness_protein.json"]


def test_a_file_that_is_damaged_or_lacks_something_is_an_error_that_says_what_to_do(tmp_path):
  for text, said in (("[", "x.json is damaged"), ('{"task": "a", "metrics": {}}', "x.json holds no result")):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(results.ResultError, match=f"{said} .*delete it"):
      results.read_all(tmp_path)


def test_other_json_beside_results_is_passed_over_and_what_a_result_holds_besides_too(tmp_path):
  path = results.write(RESULT, tmp_path / "model")
  path.write_text(json.dumps(json.loads(path.read_text()) | {"seeds": [1, 2], "seed": [0, 1]}))
  (tmp_path / "about.json").write_text('{"settings": {}}')
  (found,) = results.read_all(tmp_path)
  assert found.task == RESULT.task and found.seed == [0, 1]


def test_the_digest_of_parameters_is_that_of_their_names_and_values():
  params = {"a": {"w": np.ones((2, 3), np.float32)}, "b": np.zeros(2, np.float32)}
  digest = loaded.params_digest(params)
  assert digest == loaded.params_digest({"b": params["b"], "a": params["a"]})
  others = ({**params, "c": params["b"]}, {"a": params["a"], "b": params["b"] + 1e-7},
            {"a": {"w": np.ones((3, 2), np.float32)}, "b": params["b"]})  # fmt: skip
  assert len({digest, *map(loaded.params_digest, others)}) == 4


def test_the_table_puts_the_papers_figures_beside_the_same_figure_only():
  found = results.table([RESULT], {"fitness_protein": PaperFigure("spearman", 0.407, None, "Evo")}, details=True)
  rows = [dict(zip(found.columns, row)) for row in found.rows]
  assert [row["figure"] for row in rows] == ["spearman", "spearman/A"]
  assert rows[0]["BSM-110M"] == 0.407 and rows[0]["ours"] == 0.3 and rows[0]["95 % interval"] == "0.2000 to 0.4000"
  assert rows[0]["truncated"] == "25.0%" and rows[0]["model"] == "x step 3, 1.0M (aaaaaaaa)"
  assert rows[1]["BSM-110M"] is None and rows[1]["ours"] is None
  assert [row[1] for row in results.table([RESULT], {}).rows] == ["spearman"]


def test_what_stands_beside_a_fine_tuned_model_is_below_it_without_the_papers_figures(tmp_path):
  of_kmers = {"metrics": {"accuracy": 0.7}, "intervals": {"accuracy": [0.6, 0.8]}, "spread": {"accuracy": 0.0}}
  tuned = dataclasses.replace(
      RESULT, task="PPI", metrics={"accuracy": 0.8}, intervals={"accuracy": (0.7, 0.9)}, seed=[0, 1, 2],
      spread={"accuracy": 0.01}, baselines={"kmer": of_kmers},
  )  # fmt: skip
  results.write(tuned, tmp_path / "PPI")
  found = results.table(results.read_all(tmp_path), suites.PAPER)
  first, second = (dict(zip(found.columns, row)) for row in found.rows)
  assert (first["ours"], first["± seeds"], first["BSM-110M"], first["others"]) == (0.8, 0.01, 0.975, "LucaOne 0.9748")
  assert (second["ours"], second["± seeds"], second["BSM-110M"], second["others"]) == (0.7, None, None, None)
  assert second["model"] == "baseline: kmer" and second["95 % interval"] == "0.6000 to 0.8000"


def test_a_part_of_a_benchmark_does_not_stand_beside_the_papers_figure():
  for settings in ({"assays": ["A"]}, {"limit": 100}, {"data": {"test_limit": 5}}):
    found = results.table([dataclasses.replace(RESULT, settings=settings)], suites.PAPER)
    row = dict(zip(found.columns, found.rows[0]))
    assert row["BSM-110M"] is None and row["others"] is None and row["version"] == "1, a part"


def test_the_page_is_well_formed_and_escapes_what_it_shows(tmp_path):
  evil = dataclasses.replace(RESULT, task="<script>alert(1)</script>")
  markdown, page = map(pathlib.Path, results.write_tables([RESULT, evil], suites.PAPER, tmp_path))
  tags = []
  parser = HTMLParser()
  parser.handle_starttag = lambda tag, attributes: tags.append(tag)
  parser.feed(page.read_text())
  assert "table" in tags and "script" not in tags and "b" not in tags
  assert "A &lt;b&gt;note&lt;/b&gt;." in page.read_text()
  assert "| fitness_protein | spearman | 0.3000 |" in markdown.read_text()


# --- The command ---


@pytest.fixture
def data(tmp_path) -> pathlib.Path:
  (tmp_path / "data").mkdir()
  (tmp_path / "data" / "protein.fasta").write_text(FASTA)
  return tmp_path / "data"


TASKS = (
    suites.TASKS["perplexity_dna"],  # its file is not there
    perplexity.FastaPerplexity("broken", "protein.fasta", Modality.DNA),
    suites.TASKS["perplexity_protein"],
)


def test_a_task_without_data_and_one_that_fails_cost_the_others_nothing(data, tmp_path):
  said = []
  failed = run.run(random_model(), TASKS, str(data), str(tmp_path / "out"), SETTINGS, said.append)
  assert list(failed) == ["perplexity_dna", "broken"]
  assert "dna.fasta" in failed["perplexity_dna"] and "To be had: your own" in failed["perplexity_dna"]
  assert "one" in failed["broken"] and "dna" in failed["broken"]
  (found,) = results.read_all(tmp_path / "out")
  assert found.task == "perplexity_protein" and found.counts == {"sequences": 2, "residues": 13}


def test_what_is_done_is_not_done_again_until_data_parameters_or_settings_change(data, tmp_path):
  def again(settings=SETTINGS, model=None):
    said = []
    run.run(model or random_model(), TASKS[2:], str(data), str(tmp_path / "out"), settings, said.append)
    return "done before" not in said[0]

  assert again()
  assert not again()
  assert again(dataclasses.replace(SETTINGS, seed=1))
  assert not again(dataclasses.replace(SETTINGS, seed=1))
  (data / "protein.fasta").write_text(FASTA + ">three\nMK\n")
  assert again(dataclasses.replace(SETTINGS, seed=1))
  assert again(dataclasses.replace(SETTINGS, seed=1), run.untrained(random_model(), 0))
  assert len(results.read_all(tmp_path / "out")) == 2


def test_parameters_are_hashed_once_however_many_tasks_there_are(data, tmp_path, monkeypatch):
  digests, digest = [], loaded.params_digest
  monkeypatch.setattr(loaded, "params_digest", lambda params: digests.append(digest(params)) or digests[-1])
  model = dataclasses.replace(random_model(), name="fresh")
  tasks = [dataclasses.replace(TASKS[2], name=name) for name in ("one", "two")]
  assert run.run(model, tasks, str(data), str(tmp_path / "out"), SETTINGS, lambda line: None) == {}
  assert [found.checkpoint["sha256"] for found in results.read_all(tmp_path / "out")] == digests * 2
  assert run.untrained(model, 0).params_sha256 != model.params_sha256


def test_the_list_says_which_files_are_there_and_where_they_are_published(data):
  text = run.describe(TASKS, str(data), SETTINGS)
  assert "missing  dna.fasta" in text and "there    protein.fasta" in text and "from: your own" in text
  assert "missing" not in run.describe(TASKS, None, SETTINGS)
  everything = run.describe(list(suites.TASKS.values()), None, SETTINGS)
  assert "marks.hms.harvard.edu/proteingym" in everything and "processed_dms_nt_domingo_2018.tsv" in everything


def test_an_unknown_task_is_an_error_that_lists_those_there_are():
  with pytest.raises(run.RunError, match="no task nope; there are: fitness_protein"):
    run.choose(None, ["nope"])
  with pytest.raises(run.RunError, match="say what to run"):
    run.choose(None, [])
  assert [task.name for task in run.choose("paper", [])] == list(suites.SUITES["paper"])


def test_every_suites_tasks_exist_and_the_papers_panels_name_the_papers_studies():
  assert all(name in suites.TASKS for names in suites.SUITES.values() for name in names)
  panel = suites.TASKS["fitness_protein"]
  assert isinstance(panel, fitness.Panel)
  authors = [assay.name.split("_")[-2] for assay in panel.assays]
  assert authors == ["Jacquier", "Firnberg", "Adkar", "Tsuboyama", "Kelsic"]
