"""What a folder holds, how it is read, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from bsm_jax import tokenizer
from data_pipelines import pack
from data_pipelines.errors import InputError
from data_pipelines.inspection import layout, reading, statistics, text
from data_pipelines.inspection import survey as survey_lib
from tests.data_pipelines.inspection import sample_build
from tests.data_pipelines.inspection.sample_build import (
  CONTEXT,
  DNA,
  DOCUMENTS,
  PROTEIN,
  WEB,
  ids,
  pair,
  row,
  write_documents,
)


class TestFind:

  def test_a_build_a_row_set_and_a_corpus_are_told_apart(self, built):
    def names_of(folder):
      found = layout.find(folder)
      return [d.name for d in found.datasets], [r.name for r in found.row_sets]

    corpora, row_sets = list(DOCUMENTS), ["pairs", "single"]
    assert names_of(built) == (corpora, row_sets)
    assert names_of(built / "documents") == (corpora, [])
    assert names_of(built / "rows") == ([], row_sets)
    assert names_of(built / "rows" / "pairs") == ([], ["pairs"])
    assert names_of(built / "documents" / "single_modal") == (["single_modal"], [])
    assert names_of(built / "documents" / "single_modal" / "1.0.0") == (["single_modal"], [])

  def test_counts_are_those_of_the_files(self, built):
    found = layout.find(built)
    rows = found.row_sets[0].splits["train"]
    assert rows.total == found.row_sets[0].description["splits"]["train"]["rows"] > 4
    assert len(rows.paths) > 1 and rows.counts[0] == 4
    assert found.datasets[0].splits["train"].total == 2

  def test_of_two_versions_the_newer_is_taken(self, copy):
    folder = copy / "documents" / "single_modal"
    shutil.copytree(folder / "1.0.0", folder / "0.9.0")
    assert layout.find(folder).datasets[0].folder.name == "1.0.0"

  @pytest.mark.parametrize("name", ["absent", "file"])
  def test_what_is_no_folder_is_refused(self, tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder.*data_pipelines.build"):
      layout.find(tmp_path / name)

  def test_a_folder_of_something_else_is_refused_with_what_was_expected(self, tmp_path):
    (tmp_path / "documents").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="holds neither documents nor rows.*corpus.json"):
      layout.find(tmp_path)

  def test_a_build_of_which_nothing_is_finished_is_refused(self, copy):
    shutil.rmtree(copy / "documents")
    (copy / "rows").rename(copy / ".building-abc")
    with pytest.raises(InputError, match=r"half-written.*\.building-abc.*Run the build"):
      layout.find(copy)
    with pytest.raises(InputError, match="half-written"):
      layout.find(copy / ".building-abc" / "pairs")

  def test_a_build_that_still_runs_is_shown_with_a_warning(self, copy):
    (copy / ".building-abc").mkdir()
    found = survey_lib.survey(layout.find(copy), survey_lib.Options())
    assert len(found.row_sets) == 2
    assert "warning: .building-abc is the half-written part" in text.render(found, colour=False)

  def test_another_vocabulary_is_refused(self, copy):
    path = copy / "rows" / "pairs" / "corpus.json"
    path.write_text(path.read_text().replace(tokenizer.vocabulary_hash(), "f" * 64))
    with pytest.raises(InputError, match="corpus.json: is of another vocabulary .ffffffffffff; .*Inspect it"):
      layout.find(copy)

  def test_documents_of_another_vocabulary_are_refused_where_they_say_so(self, copy):
    path = copy / "documents" / "single_modal" / "1.0.0" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocabulary_hash": "e" * 64}))
    with pytest.raises(InputError, match="metadata.json: is of another vocabulary"):
      layout.find(copy)

  @pytest.mark.parametrize(("path", "message"), [
      ("rows/pairs/corpus.json", "half-written or damaged"),
      ("rows/pairs/train/rows-00001-*", "a shard is missing"),
      ("documents/single_modal/1.0.0/metadata.json", "half-written or damaged"),
      ("documents/single_modal/1.0.0/features.json", "half-written or damaged"),
      ("documents/single_modal/1.0.0/single_modal-train.array_record-00000-of-00001", "is missing"),
  ])
  def test_an_absent_file_is_named(self, copy, path, message):
    (file,) = copy.glob(path)
    file.unlink()
    with pytest.raises(InputError, match=message) as error:
      layout.find(copy)
    assert file.parent.name in str(error.value) and "Run the build" in str(error.value)

  @pytest.mark.parametrize("content", ["{", "[]", "{}"])
  def test_a_damaged_description_is_named(self, copy, content):
    (copy / "rows" / "pairs" / "corpus.json").write_text(content)
    with pytest.raises(InputError, match="corpus.json: (cannot be read|holds no JSON object|lacks name)"):
      layout.find(copy)

  def test_a_split_without_its_counts_is_named(self, copy):
    path = copy / "rows" / "pairs" / "corpus.json"
    path.write_text(path.read_text().replace('"tokens"', '"token"'))
    with pytest.raises(InputError, match="corpus.json: lacks splits.train.tokens"):
      layout.find(copy)

  def test_features_that_name_a_module_of_their_own_are_not_imported(self, copy):
    path = copy / "documents" / "single_modal" / "1.0.0" / "features.json"
    path.write_text(path.read_text().replace("tensorflow_datasets.core.features.text_feature", "antigravity"))
    with pytest.raises(InputError, match="features.json: names the class antigravity.Text"):
      layout.find(copy)

  def test_a_description_that_tfds_cannot_use_is_named(self, copy):
    path = copy / "documents" / "single_modal" / "1.0.0" / "dataset_info.json"
    path.write_text(path.read_text().replace("{SHARD_X_OF_Y}", "{SHARDS}"))
    with pytest.raises(InputError, match="single_modal/1.0.0: is no dataset"):
      layout.find(copy)

  def test_rows_that_are_not_as_many_as_described_are_refused(self, copy):
    path = copy / "rows" / "pairs" / "corpus.json"
    description = json.loads(path.read_text())
    description["splits"]["train"]["rows"] += 1
    path.write_text(json.dumps(description))
    with pytest.raises(InputError, match="train: holds .* rows, but corpus.json says"):
      layout.find(copy)

  def test_a_truncated_shard_is_refused(self, copy):
    path = next((copy / "rows" / "pairs" / "train").iterdir())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"rows-.*array_record: is damaged"):
      layout.find(copy)


class TestRead:

  def test_records_come_from_every_shard_in_order(self, built):
    row_set = layout.find(built / "rows" / "pairs").row_sets[0]
    total = row_set.splits["train"].total
    everything = np.concatenate(list(reading.rows(row_set, "train", range(total), batch=3)))
    assert everything.shape == (total, CONTEXT)
    chosen = [1, 4, 5, total - 1]
    np.testing.assert_array_equal(np.concatenate(list(reading.rows(row_set, "train", chosen))), everything[chosen])

  def test_documents_hold_their_sequences_in_order(self, built):
    dataset = {d.name: d for d in layout.find(built).datasets}["web_interleaved"]
    (document,) = reading.documents(dataset, "train", [0])
    assert [(m, tokenizer.decode(s)) for m, s in document.parts] == [(DNA, "acgt"), (PROTEIN, "MK"), (PROTEIN, "MKV")]

  def test_batches_hold_every_document_once(self, built):
    dataset = layout.find(built).datasets[0]
    batches = list(reading.sequences(dataset, "train", range(2), batch_letters=1))
    assert len(batches) == 2
    assert statistics.combine_sequences([statistics.measure_sequences(b) for b in batches]).orders == {(5, 6, 7): 2}

  def test_a_shard_that_is_truncated_or_zeroed_is_named(self, copy):
    path = copy / "documents/single_modal/1.0.0/single_modal-train.array_record-00000-of-00001"
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b""):
      path.write_bytes(damaged)
      with pytest.raises(InputError, match="single_modal-train.*: (is damaged|holds 0 records where 3 were written)"):
        survey_lib.survey(layout.find(copy), survey_lib.Options())

  def test_a_row_with_a_token_that_means_nothing_is_named(self, copy):
    folder = copy / "rows" / "single" / "train"
    for path in folder.iterdir():
      path.unlink()
    pack.write_rows([row(pair()).tobytes()] * 2 + [row(pair(), 62).tobytes()], folder)
    with pytest.raises(InputError, match="single/train: row 2: holds token id 62"):
      survey_lib.survey(layout.find(copy), survey_lib.Options())

  def test_a_row_of_another_length_is_named(self, copy):
    folder = copy / "rows" / "single" / "train"
    for path in folder.iterdir():
      path.unlink()
    pack.write_rows([bytes(CONTEXT), bytes(CONTEXT + 1), bytes(CONTEXT)], folder)
    with pytest.raises(InputError, match="rows-00000-of-00001.array_record: record 1: a row of 41 bytes"):
      survey_lib.survey(layout.find(copy), survey_lib.Options())

  @pytest.mark.parametrize("change", [
      {"ends": np.array([4, 6], np.int32)}, {"ends": np.array([4, 6, 8], np.int32)},
      {"ends": np.array([6, 4, 9], np.int32), "letters": ids("ACGTACGTA"), "modalities": np.full(3, DNA, np.uint8)},
      {"modalities": np.array([5, 7, 9], np.uint8)},
      {"modalities": np.array([7, 7, 7], np.uint8)},
  ])
  def test_a_document_that_contradicts_itself_is_named(self, tmp_path, change):
    write_documents(tmp_path, "web_interleaved", {"train": [WEB[0] | change]}, {})
    with pytest.raises(InputError, match="record 0: is no document of web_interleaved"):
      survey_lib.survey(layout.find(tmp_path), survey_lib.Options())

  def test_documents_of_unknown_features_are_refused(self, tmp_path, monkeypatch):
    features = tfds.features.FeaturesDict({"id": tfds.features.Text()})
    monkeypatch.setitem(sample_build.FEATURES, "web_interleaved", features)
    write_documents(tmp_path, "web_interleaved", {"train": [{"id": "a"}]}, {})
    with pytest.raises(InputError, match="features that are unknown here: id"):
      survey_lib.survey(layout.find(tmp_path), survey_lib.Options())
