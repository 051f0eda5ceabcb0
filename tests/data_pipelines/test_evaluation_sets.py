"""Evaluation sets are read from tables and FASTA as their entries say, and nothing else is guessed."""

import gzip

import pytest

from bsm_jax.tokenizer import Modality
from data_pipelines.errors import InputError
from data_pipelines.evaluation_sets import REASONS, EvaluationSetError, parse_evaluation_sets, read_evaluation_set
from data_pipelines.formats.tabular import read_table
from data_pipelines.report import Tally

PROTEIN = "MKTAYIAKQRQISFVKSHFSRQ"


def entry(path, format="csv", **columns):
  return {"name": "set", "path": str(path), "format": format, "columns": columns}


def read(given, tally=None, **variables):
  (parsed,) = parse_evaluation_sets([given], variables)
  return list(read_evaluation_set(parsed, tally))


@pytest.fixture
def table(tmp_path):
  path = tmp_path / "set.csv"
  path.write_text(f'primary,note,dna\n{PROTEIN},"a, b",acgtacgtac\nMK,,NNRYAC\n')
  return path


class TestTables:

  def test_cells_of_the_columns_asked_for_in_order(self, table):
    assert list(read_table(table, "csv", ["dna", "note"])) == [(2, ("acgtacgtac", "a, b")), (3, ("NNRYAC", ""))]

  def test_a_byte_order_mark_and_other_line_ends_change_nothing(self, tmp_path):
    path = tmp_path / "set.tsv"
    path.write_bytes(b"\xef\xbb\xbfa\tb\r\n1\t2\r\n\r\n3\t4\r\n")
    assert list(read_table(path, "tsv", ["a", "b"])) == [(2, ("1", "2")), (4, ("3", "4"))]

  def test_quotes_of_tab_separated_cells_are_letters(self, tmp_path):
    path = tmp_path / "set.tsv"
    path.write_text('a\tb\n5"\tx\n')
    assert list(read_table(path, "tsv", ["a"])) == [(2, ('5"',))]

  def test_gzip_is_read(self, tmp_path):
    path = tmp_path / "set.csv.gz"
    path.write_bytes(gzip.compress(b"a\n1\n"))
    assert list(read_table(path, "csv", ["a"])) == [(2, ("1",))]

  def test_cells_longer_than_a_gene_are_read(self, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("a,b\n" + "A" * 300_000 + ",1\n")
    assert [len(cells[0]) for _, cells in read_table(path, "csv", ["a"])] == [300_000]

  def test_without_a_header_columns_have_numbers(self, tmp_path):
    path = tmp_path / "set.tsv"
    path.write_text("P1\tMK\nP2\tMA\n")
    assert list(read_table(path, "tsv", ["2"], header=False)) == [(1, ("MK",)), (2, ("MA",))]

  def test_an_unknown_column_is_told_with_those_there_are(self, table):
    with pytest.raises(InputError, match="has no column 'sequence'; its columns are 'primary', 'note', 'dna'"):
      list(read_table(table, "csv", ["sequence"]))

  def test_a_column_that_is_there_twice_is_an_error(self, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("a,a\n1,2\n")
    with pytest.raises(InputError, match="has 2 columns 'a'"):
      list(read_table(path, "csv", ["a"]))

  @pytest.mark.parametrize("row", ["1", "1,2,3"])
  def test_a_row_of_another_length_is_named(self, tmp_path, row):
    path = tmp_path / "set.csv"
    path.write_text(f"a,b\n1,2\n{row}\n")
    with pytest.raises(InputError, match=f"line 3: {row.count(',') + 1} cells where the first line has 2"):
      list(read_table(path, "csv", ["a"]))

  def test_a_quote_that_is_not_closed_is_named(self, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text('a,b\n1,"2\n')
    with pytest.raises(InputError, match="line 2: no csv"):
      list(read_table(path, "csv", ["a"]))

  def test_a_file_of_blank_lines_is_an_error(self, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("\n\n")
    with pytest.raises(InputError, match="blank lines only"):
      list(read_table(path, "csv", ["a"]))


class TestReading:

  def test_each_column_has_its_modality(self, table):
    found = read(entry(table, primary="protein", dna="rna"))
    assert found[:2] == [("line 2, primary", Modality.PROTEIN, PROTEIN), ("line 2, dna", Modality.RNA, "acgtacgtac")]
    assert found[2:] == [("line 3, primary", Modality.PROTEIN, "MK"), ("line 3, dna", Modality.RNA, "NNRYAC")]

  def test_fasta_records_keep_their_names(self, tmp_path):
    path = tmp_path / "set.fa"
    path.write_text(">one x\nACGU\nAC\n>two\nGGCC\n")
    assert read(entry(path, "fasta", sequence="rna")) == [
        ("one", Modality.RNA, "ACGUAC"), ("two", Modality.RNA, "GGCC"),
    ]

  def test_gaps_and_stops_are_removed_and_counted(self, tmp_path):
    path = tmp_path / "set.fa"
    path.write_text(f">one\n{PROTEIN[:5]}--..{PROTEIN[5:]}*\n")
    tally = Tally()
    assert read(entry(path, "fasta", sequence="protein"), tally) == [("one", Modality.PROTEIN, PROTEIN)]
    assert tally.counts == {"gaps": 5}

  def test_empty_cells_are_left_out_and_counted(self, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("a,b\n,1\n---,2\nMKV,3\n")
    tally = Tally()
    assert read(entry(path, a="protein"), tally) == [("line 4", Modality.PROTEIN, "MKV")]
    assert tally.counts == {"empty": 2} and set(tally.counts) <= set(REASONS)

  def test_a_few_strange_letters_stay_and_are_counted(self, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text(f"a\n{PROTEIN}?\n")
    tally = Tally()
    assert read(entry(path, a="protein"), tally)[0][2] == PROTEIN + "?"
    assert tally.counts == {"unknown_letters": 1}

  def test_a_column_of_another_modality_is_an_error(self, table):
    with pytest.raises(InputError, match="line 2: 7 of 22 letters are none of dna"):
      read(entry(table, primary="dna"))

  def test_nucleotides_given_as_protein_are_an_error(self, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("a\n" + "ACGT" * 30 + "\n")
    with pytest.raises(InputError, match="given as protein, but its letters are those of nucleotides only"):
      read(entry(path, a="protein"))

  def test_all_files_of_a_glob_are_read_in_order(self, tmp_path):
    for name, residue in (("b", "K"), ("a", "M")):
      (tmp_path / f"{name}.csv").write_text(f"s\n{residue * 3}\n")
    found = read(entry("{tasks}/*.csv", s="protein"), tasks=str(tmp_path))
    assert [letters for _, _, letters in found] == ["MMM", "KKK"]


class TestEntries:

  @pytest.mark.parametrize("change, message", [
      ({"columns": {}}, "lacks columns"),
      ({"format": "xlsx"}, "format must be one of fasta, csv, tsv"),
      ({"colour": "red"}, "no such key: colour"),
      ({"columns": {"primary": "peptide"}}, "unknown modality 'peptide'"),
      ({"format": "fasta"}, "columns of a FASTA file are"),
      ({"path": "{tasks}/x.csv"}, "needs the folder `tasks`: pass --config.tasks=DIR"),
  ])
  def test_an_entry_that_cannot_be_used_is_explained(self, table, change, message):
    with pytest.raises(EvaluationSetError, match=message):
      parse_evaluation_sets([entry(table, primary="protein") | change], {"tasks": None})

  def test_two_sets_of_one_name_are_an_error(self, table):
    with pytest.raises(EvaluationSetError, match="two evaluation sets have the name set"):
      parse_evaluation_sets([entry(table, primary="protein")] * 2, {})

  def test_a_missing_file_is_named(self, tmp_path):
    with pytest.raises(InputError, match="nowhere.csv: no such file"):
      parse_evaluation_sets([entry(tmp_path / "nowhere.csv", a="protein")], {})


@pytest.mark.parametrize("path, format, columns, header, records", [
    ("ProtStab/*.csv.gz", "csv", {"seq": "protein"}, True, 56_095),
    ("CentralDogma/derived_central_dogma.tsv.gz", "tsv", {"dna": "dna", "protein": "protein"}, True, 19_572),
    ("DMS_rna_dna/kobori2016_twister_long.tsv.gz", "tsv", {"sequence": "rna"}, True, 10_296),
    ("PPI/yeast_dictionary.tsv.gz", "tsv", {"2": "protein"}, False, 2_497),
    ("ncRPI/*_rna_seq.fa.gz", "fasta", {"sequence": "rna"}, True, 1_103),
    ("ProtLoc/*.fasta.gz", "fasta", {"sequence": "protein"}, True, 7_640),
])
def test_published_sets_are_read_to_the_last_record(shared_data, path, format, columns, header, records):
  given = entry(f"{{tasks}}/{path}", format, **columns) | {"header": header}
  tally = Tally()
  found = read(given, tally, tasks=str(shared_data / "tasks"))
  assert len(found) + tally.counts["empty"] == records
