"""The survey of a whole build, and the command."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from data_pipelines import inspect
from data_pipelines.errors import InputError
from data_pipelines.inspection import layout, names, page, text
from data_pipelines.inspection import survey as survey_lib

ROOT = pathlib.Path(__file__).parents[3]


class TestSurvey:

  def test_totals_are_exact_where_everything_is_read(self, survey):
    pairs, single_modal_, web_ = survey.corpora
    assert pairs.splits["train"].letters == {"dna": 31, "rna": 25, "protein": 5}
    assert single_modal_.splits["train"].letters == {"dna": 500, "rna": 4, "protein": 3}
    assert web_.splits["train"].letters == {"dna": 4, "rna": 0, "protein": 5}
    assert survey.letters() == {"dna": 31 + 22 + 504, "rna": 25 + 16 + 4, "protein": 5 + 3 + 8}
    assert not survey.is_sampled and list(pairs.splits) == ["train", "valid"]

  def test_a_sample_is_announced_and_its_estimates_are_marked(self, built):
    options = survey_lib.Options(max_rows=3, max_documents=1)
    found = survey_lib.survey(layout.find(built), options)
    assert found.is_sampled
    assert found.row_sets[0].splits["train"].read == 3
    assert found.row_sets[0].splits["train"].letters["dna"] == 240  # counted by the build, not estimated
    assert found.row_sets[0].statistics.weight.sum() == sum(s.total for s in found.row_sets[0].splits.values())
    assert found.corpora[1].splits["train"].read == 1
    assert sum(found.corpora[1].statistics.sequences_by_modality().values()) == 3
    shown = text.render(found, colour=False)
    assert re.search(r"sampled +\d+ of \d+ documents and rows were read", shown) and "≈ " in shown

  def test_large_documents_are_sampled_by_their_size(self, built, monkeypatch):
    monkeypatch.setattr(survey_lib, "MAX_BYTES", 1)
    assert survey_lib.survey(layout.find(built), survey_lib.Options()).corpora[1].splits["train"].read == 1

  def test_the_same_seed_samples_the_same(self, built):
    def read(seed):
      found = survey_lib.survey(layout.find(built), survey_lib.Options(documents=2, max_rows=3, seed=seed))
      return text.render(found, colour=False)

    assert read(1) == read(1)
    assert len({read(seed) for seed in range(4)}) > 1

  def test_records_that_are_unaccounted_for_are_a_warning(self, copy):
    path = copy / "documents" / "single_modal" / "1.0.0" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"records": 8}))
    (warning,) = survey_lib.survey(layout.find(copy), survey_lib.Options()).warnings
    assert warning.startswith("single_modal: 8 records were read, but 3 are used and 4 rejected")

  def test_documents_that_are_not_as_long_as_described_are_a_warning(self, copy):
    path = copy / "documents" / "single_modal" / "1.0.0" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"letters": {"train": 507}}))
    assert not survey_lib.survey(layout.find(copy), survey_lib.Options()).warnings
    path.write_text(path.read_text().replace("507", "506"))
    (warning,) = survey_lib.survey(layout.find(copy), survey_lib.Options()).warnings
    assert warning == "single_modal, train: holds 507 letters where its description counts 506"

  def test_letters_that_the_description_counts_otherwise_are_a_warning(self, copy):
    path = copy / "rows" / "pairs" / "corpus.json"
    description = json.loads(path.read_text())
    description["splits"]["train"]["letters_by_modality"]["rna"] = 1
    path.write_text(json.dumps(description))
    (warning,) = survey_lib.survey(layout.find(copy), survey_lib.Options()).warnings
    assert warning.startswith("pairs: corpus.json counts other letters")

  def test_reasons_have_the_meaning_of_their_stage(self, survey):
    found = {(d.where, d.reason): d.meaning for d in survey.dropped()}
    assert found["pairs", "too_short"] == "fewer letters than min_letters"
    assert found["single_modal: rejects", "too_short"] == "fewer letters than config.documents.min_letters"
    assert found["single_modal: rejects", "of_another_world"] == ""
    assert "(no module explains this code)" in text.render(survey, colour=False)


class TestNames:

  def test_every_reason_of_the_pipeline_is_explained(self):
    from data_pipelines import documents, genes, views  # pylint: disable=g-import-not-at-top

    for module in (documents, genes, views):
      assert all(names.meaning(code) for code in module.REASONS)

  def test_taxa_get_their_scientific_names(self, built, tmp_path):
    path = tmp_path / "names.dmp"
    path.write_text(
        "1\t|\troot\t|\t\t|\tscientific name\t|\n7\t|\tAn old name\t|\t\t|\tsynonym\t|\n"
        "7\t|\tAzorhizobium <i>\t|\t\t|\tscientific name\t|\n7\t|\tAnother\t|\t\t|\tsynonym\t|\n"
    )
    found = survey_lib.survey(layout.find(built), survey_lib.Options(), path)
    assert found.taxon_names == {7: "Azorhizobium <i>"}
    assert (found.taxon(7), found.taxon(8), found.taxon(0)) == ("Azorhizobium <i>", "taxon 8", "no taxon")
    content = page.render(found, [])
    assert "Azorhizobium &lt;i&gt;" in content and "Azorhizobium <i>" not in content

  @pytest.mark.parametrize("line", ["9606,Homo sapiens", "x\t|\ty\t|\t\t|\tscientific name\t|"])
  def test_a_file_that_is_no_names_dmp_is_refused(self, tmp_path, line):
    path = tmp_path / "names.dmp"
    path.write_text("7\t|\tA\t|\t\t|\tscientific name\t|\n" + line + "\n")
    with pytest.raises(InputError, match="names.dmp: line 2: is no line of names.dmp"):
      names.read_taxonomy(path, {7})

  def test_what_is_printed_cannot_act(self):
    assert names.printable("a\x1b[2J\u202eb\n") == "a\\x1b[2J\\u202eb\\n"
    assert names.printable("Ächz → 5′ µ") == "Ächz → 5′ µ"


def command(*arguments, **environment):
  return subprocess.run(
      [sys.executable, "-m", "data_pipelines.inspect", *map(str, arguments)], capture_output=True, text=True, cwd=ROOT,
      env=os.environ | environment,
  )


class TestCommand:

  def test_it_prints_and_writes_the_same_each_time(self, copy, tmp_path):
    done = command(copy, "--documents=1")
    assert done.returncode == 0, done.stderr
    found = inspect.inspect(copy, tmp_path / "again", survey_lib.Options(documents=1))
    assert done.stdout.startswith(text.render(found, colour=False))
    assert done.stdout.endswith(f"{copy / 'inspection' / 'inspection.html'}\n")
    folders = (copy / "inspection", tmp_path / "again")
    written = [{p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders]
    assert written[0] == written[1]
    assert set(written[0]) == {"inspection.html", *(f"{n}.png" for n in (
        "letters", "taxa", "lengths", "composition", "rows", "orders"))}
    assert str(copy) not in written[0]["inspection.html"].decode()

  def test_bad_input_is_one_line_and_an_exit_status(self, tmp_path):
    done = command(tmp_path)
    assert done.returncode == 1 and not (tmp_path / "inspection").exists()
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: {tmp_path}: holds neither documents nor rows")
    assert "Traceback" not in done.stderr

  def test_what_it_wrote_into_a_folder_is_no_part_of_it(self, copy):
    folder = copy / "rows" / "single"
    inspect.inspect(folder, folder / "inspection", survey_lib.Options(documents=0))
    assert (folder / "inspection" / inspect.PAGE).exists()
    assert len(layout.find(copy).row_sets) == 2

  def test_a_place_that_cannot_be_written_is_named(self, built, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot be written .*Choose another --out"):
      inspect.inspect(built / "rows" / "single", tmp_path / "file", survey_lib.Options())


class TestRealBuild:

  @pytest.mark.slow
  def test_the_miniature_build_can_be_inspected(self, tmp_path):
    def run(*arguments):
      done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=ROOT)
      assert done.returncode == 0, done.stderr
      return done.stdout

    run("data_pipelines.miniature", f"--out={tmp_path / 'release'}", "--genes=60")
    run("data_pipelines.build", "--config=configs/data/miniature.py", f"--config.release={tmp_path / 'release'}",
        f"--out={tmp_path / 'out'}")
    shown = run("data_pipelines.inspect", str(tmp_path / "out"))
    assert "warning" not in shown and "(no module explains this code)" not in shown
    assert "not_selected_transcript" in shown and "rna → dna → protein" in shown
    assert (tmp_path / "out" / "inspection" / "inspection.html").stat().st_size > 100_000
