"""MMseqs2 databases and the older tables of ColabFoldDB."""

import random

import pytest

from bsm_jax.tokenizer import Modality
from data_pipelines.errors import InputError
from data_pipelines.formats import mmseqs, ranges
from tests.data_pipelines.mmseqs_sample import (
    AMINO_ACIDS,
    HEADERS,
    NUCLEOTIDES,
    PADDED,
    PROFILES,
    write_db,
    write_sequences,
)

_random = random.Random(3)
# Keys with gaps, as after filtering; sequences on both sides of the length from which MMseqs2 compresses.
RECORDS = {
    3 * i: (f"MGYP{i:07} FL=1 TaxID={i}", "".join(_random.choices("ACDEFGHIKLMNPQRSTVWYX", k=1 + i * 7 % 150)))
    for i in range(60)
}
EXPECTED = [(header.split()[0], header.split(None, 1)[1], letters) for header, letters in RECORDS.values()]


def _all(read, path, **options):
  return [tuple(record) for record in read(path, **options)]


def _in_ranges(read, path, cuts, **options):
  parts = [_all(read, path, start=start, stop=stop, **options) for start, stop in reversed(cuts)]
  return [record for part in reversed(parts) for record in part]


@pytest.fixture
def tables(tmp_path):
  """The table of the members' sequences; its headers lie beside it."""
  (tmp_path / "db_h.tsv").write_text("".join(f"{key}\t{header}\n" for key, (header, _) in RECORDS.items()))
  (tmp_path / "db_seq.tsv").write_text("".join(f"{key}\t{letters}\n" for key, (_, letters) in RECORDS.items()))
  return tmp_path / "db_seq.tsv"


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("files", [0, 1, 3])
def test_every_sequence_is_read_with_its_header(tmp_path, compress, files):
  path = write_sequences(tmp_path / "db_seq", RECORDS, compress=compress, files=files)
  assert _all(mmseqs.read_mmseqs_db, path) == EXPECTED
  assert mmseqs.entries(path) == len(RECORDS)
  assert mmseqs.modality(path) == Modality.PROTEIN


@pytest.mark.parametrize("bytes_per_range", [1, 30, 400, 10**6])
def test_ranges_together_hold_every_entry_once_and_in_order(tmp_path, tables, bytes_per_range):
  for compress in (False, True):
    path = write_sequences(tmp_path / f"db{compress}", RECORDS, compress=compress)
    cuts = mmseqs.cuts(path, bytes_per_range)
    assert _in_ranges(mmseqs.read_mmseqs_db, path, cuts) == EXPECTED
    assert _in_ranges(mmseqs.read_mmseqs_db, path, cuts, headers=False)[7] == ("21", "", EXPECTED[7][2])
  assert _in_ranges(mmseqs.read_colabfold_tsv, tables, mmseqs.cuts(tables, bytes_per_range)) == EXPECTED


def test_ranges_are_as_many_as_the_data_ask_for(tmp_path):
  path = write_sequences(tmp_path / "db", RECORDS)
  size = path.stat().st_size
  assert [len(mmseqs.cuts(path, size // n)) for n in (1, 2, 10)] == [1, 2, 11]


def test_headers_are_found_in_a_file_of_any_length(tmp_path):
  records = {i: (f"h{i:09}", "A") for i in range(0, 20_000, 2)}
  path = write_sequences(tmp_path / "db", records)
  index = (tmp_path / "db.index").read_bytes()
  for start in (0, 10, len(index) // 3, len(index) // 2, len(index) - 30):
    first = index[index.index(b"\n", start) + 1 if start else 0 :].split()[0]
    (name, _, _), *_ = _all(mmseqs.read_mmseqs_db, path, start=start, stop=start + 30)
    assert name == f"h{int(first):09}"


def test_an_index_in_another_order_than_the_data_is_followed(tmp_path):
  path = write_sequences(tmp_path / "db", dict(sorted(RECORDS.items(), key=lambda item: item[1][1])))
  for name in ("db.index", "db_h.index"):
    lines = (tmp_path / name).read_text().splitlines(keepends=True)
    (tmp_path / name).write_text("".join(sorted(lines, key=lambda line: int(line.split()[0]))))
  assert _all(mmseqs.read_mmseqs_db, path) == EXPECTED


def test_headers_may_hold_more_keys_than_the_sequences(tmp_path):
  path = write_sequences(tmp_path / "db", RECORDS)
  write_db(path, {key: f"{RECORDS[key][1]}\n".encode() for key in list(RECORDS)[::7]})
  assert _all(mmseqs.read_mmseqs_db, path) == EXPECTED[::7]


def test_a_database_without_headers_is_read_by_its_keys(tmp_path):
  path = write_db(tmp_path / "db", {7: b"mkv\n", 2: b"ML\n"}, NUCLEOTIDES)
  assert _all(mmseqs.read_mmseqs_db, path, headers=False) == [("7", "", "MKV"), ("2", "", "ML")]
  assert mmseqs.modality(path) == Modality.DNA
  with pytest.raises(InputError, match="db_h: no MMseqs2 database"):
    _all(mmseqs.read_mmseqs_db, path)


@pytest.mark.parametrize("kind, problem", [
    (PROFILES, "a database of profiles, not of sequences. Give .*db_seq"),
    (HEADERS, "a database of headers"),
    (99, "a database of type 99"),
    (AMINO_ACIDS | PADDED, "the letters are padded codes for GPUs. Give .*db_seq"),
])
def test_other_databases_are_refused_with_the_name_of_the_right_one(tmp_path, kind, problem):
  path = write_db(tmp_path / "db", {1: b"A\n"}, kind)
  with pytest.raises(InputError, match=problem):
    _all(mmseqs.read_mmseqs_db, path, headers=False)


@pytest.mark.parametrize("name", ["db_h.tsv", "db_aln.tsv", "db_seq"])
def test_other_tables_are_refused_with_the_name_of_the_right_one(tmp_path, name):
  (tmp_path / name).write_text("1\tA\n")
  with pytest.raises(InputError, match="no table of sequences. Give NAME_seq.tsv"):
    _all(mmseqs.read_colabfold_tsv, tmp_path / name)


def test_the_consensus_table_has_its_headers_in_the_same_file(tmp_path, tables):
  (tmp_path / "db.tsv").write_text("3\tMKV\n")
  assert _all(mmseqs.read_colabfold_tsv, tmp_path / "db.tsv") == [(*EXPECTED[1][:2], "MKV")]


def _change(path, old, new):
  data = path.read_bytes()
  assert data.count(old) >= 1
  path.write_bytes(data.replace(old, new, 1))


INDEX = "1\t0\t6\n2\t6\t4\n"


@pytest.mark.parametrize("index, problem", [
    (INDEX.replace("6\t4", "6\t5"), "key 2: the index asks for 5 bytes at 6"),
    (INDEX.replace("6\t4", "600\t4"), "key 2: the index asks for 4 bytes at 600"),
    (INDEX.replace("6\t4", "6\t99999999999999999999"), "key 2: an entry of 99999999999999999999 bytes"),
    (INDEX.replace("0\t6", "99999999999999999999\t6"), "key 1: the index asks for 6 bytes at 99999999999999999999"),
    (INDEX.replace("0\t6", "0\t5"), "key 1: the 5 bytes at 0 do not end with their only zero byte"),
    (INDEX.replace("0\t6", "0\t10"), "key 1: the 10 bytes at 0 do not end with their only zero byte"),
    (INDEX.replace("6\t4", "6\t0"), "key 2: an entry of 0 bytes"),
    (INDEX.replace("6\t4", "8\t2"), "key 2, b: an entry without a sequence"),
    (INDEX.replace("6\t4", "-6\t4"), "key 2: a line is not key, offset and length"),
    (INDEX.replace("6\t4", "6\t4\t1"), "key 2: a line is not key, offset and length"),
    (INDEX.replace("2\t", "x\t"), "a line does not begin with a number and a tab"),
    (INDEX.replace("2\t", "\n2\t"), "a line does not begin with a number and a tab"),
    (INDEX.replace("2\t", "9" * 5000 + "\t"), "a line does not begin with a number and a tab"),
    (INDEX.replace("2\t", "3\t"), "db_h.index: key 3: has no line for a key of"),
    (INDEX.replace("2\t", "1\t"), "key 1 stands behind key 1"),
    (INDEX.replace("2\t", "0\t"), "key 0 stands behind key 1"),
    ("", "db.index: the file is empty"),
])
def test_a_damaged_index_is_named_with_the_entry(tmp_path, index, problem):
  path = write_sequences(tmp_path / "db", {1: ("a", "MKVL"), 2: ("b", "MA")})
  assert (tmp_path / "db.index").read_text() == INDEX
  (tmp_path / "db.index").write_text(index)
  with pytest.raises(InputError, match=problem):
    _all(mmseqs.read_mmseqs_db, path)


@pytest.mark.parametrize("file, old, new, problem", [
    ("db", b"MKVL\n\0", b"MKVL\n", "key 1: the 6 bytes at 0 do not end"),
    ("db", b"MKVL", b"MK\0L", "key 1: the 6 bytes at 0 do not end"),
    ("db", b"MKVL", b"MK1L", "a: b'1' in the sequence is no letter"),
    ("db", b"MA\n\0", b"\n", "key 2: the index asks for 4 bytes at 6"),
    ("db", b"MKVL\n", b"    \n", "key 1, a: an entry without a sequence"),
    ("db_h", b"a\n", b" \n", "key 1: the header is empty"),
    ("db_h.index", b"1\t0", b"4\t0", "db_h.index: key 1: has no line"),
    ("db.dbtype", b"\0\0\0\0", b"\0", "db.dbtype: does not hold four bytes"),
    ("db.dbtype", b"\0\0\0\0", b"\0" * 5, "db.dbtype: does not hold four bytes"),
])
def test_damaged_data_are_named_with_the_entry(tmp_path, file, old, new, problem):
  path = write_sequences(tmp_path / "db", {1: ("a", "MKVL"), 2: ("b", "MA")})
  _change(tmp_path / file, old, new)
  with pytest.raises(InputError, match=problem):
    _all(mmseqs.read_mmseqs_db, path)


@pytest.mark.parametrize("at, value, problem", [
    (0, 255, "key 1: the index asks for 256 bytes at 4, where the data .* have fewer"),
    (3, 255, "key 1: 42781901.. compressed bytes for 301 letters"),
    (4, 0, "key 1: the entry's zstd data are corrupt"),
    (-2, 0, "key 1: the entry's zstd data are corrupt"),
    (-1, 7, "key 1: the entry at 0 is not one of 301 bytes"),
    (-1, 255, "key 1: the entry at 0 is not one of 301 bytes"),
])
def test_damaged_compressed_data_are_named_with_the_entry(tmp_path, at, value, problem):
  path = write_db(tmp_path / "db", {1: b"MKVLA" * 60}, compress=True)
  data = bytearray(path.read_bytes())
  data[at] = value
  path.write_bytes(data)
  with pytest.raises(InputError, match=problem):
    _all(mmseqs.read_mmseqs_db, path, headers=False)


def test_a_length_that_belies_the_compressed_data_is_named(tmp_path):
  path = write_db(tmp_path / "db", {1: b"MKVLA" * 60}, compress=True)
  _change(tmp_path / "db.index", b"301", b"302")
  with pytest.raises(InputError, match="key 1: the entry's zstd data are corrupt"):
    _all(mmseqs.read_mmseqs_db, path, headers=False)


@pytest.mark.parametrize("missing", ["db", "db.index", "db.dbtype", "db_h", "db_h.index", "db_h.dbtype"])
def test_a_missing_file_is_named(tmp_path, missing):
  path = write_sequences(tmp_path / "db", RECORDS)
  (tmp_path / missing).unlink()
  with pytest.raises(InputError, match="cannot be opened|no MMseqs2 database"):
    _all(mmseqs.read_mmseqs_db, path)


def test_a_missing_part_of_the_data_is_told(tmp_path):
  path = write_sequences(tmp_path / "db", RECORDS, files=3)
  (tmp_path / "db.1").unlink()
  with pytest.raises(InputError, match="the index asks for .* where the data .* have fewer"):
    _all(mmseqs.read_mmseqs_db, path)


def test_an_archive_that_is_still_packed_is_refused_with_what_to_do(tmp_path):
  (tmp_path / "db.tar.gz").write_bytes(b"\x1f\x8b")
  for read in (mmseqs.entries, lambda path: mmseqs.cuts(path, 5), mmseqs.modality):
    with pytest.raises(InputError, match="db.tar.gz: no MMseqs2 database.*unpacked"):
      read(tmp_path / "db.tar.gz")


@pytest.mark.parametrize("text, problem", [
    ("1 MKV\n", "a line does not begin with a number and a tab"),
    ("1\t\n", "key 1, h: an entry without a sequence"),
    ("1\tMK V2\n", "h: b'2' in the sequence"),
    ("2\tMKV\n1\tMKV\n", "key 1 stands behind key 2"),
    ("5\tMKV\n", "db_h.tsv: key 5: has no line for a key of"),
    ("", "the file is empty"),
])
def test_a_damaged_table_is_named_with_the_line(tmp_path, text, problem):
  (tmp_path / "db_h.tsv").write_text("1\th\n2\ti x\n")
  (tmp_path / "db_seq.tsv").write_text(text)
  with pytest.raises(InputError, match=problem):
    _all(mmseqs.read_colabfold_tsv, tmp_path / "db_seq.tsv")


def test_entries_are_counted_with_or_without_a_last_line_end(tables):
  assert mmseqs.entries(tables) == len(RECORDS)
  tables.write_bytes(tables.read_bytes().rstrip(b"\n"))
  assert mmseqs.entries(tables) == len(RECORDS)


def test_a_database_is_read_in_bounded_pieces(tmp_path, monkeypatch):
  path = write_sequences(tmp_path / "db", RECORDS)
  monkeypatch.setattr(ranges, "_BLOCK", 16)
  assert _all(mmseqs.read_mmseqs_db, path) == EXPECTED
