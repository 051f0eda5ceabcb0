"""FASTA files, and the opening of plain and gzip files that all readers share."""

import gzip
import io

import pytest

from data_pipelines.errors import InputError
from data_pipelines.formats import compressed, fasta, ranges


def _write(path, data):
  path.write_bytes(data)
  return path


def _records(path):
  return [tuple(record) for record in fasta.read_fasta(path)]


TEXT = b">NP_1.1 a protein [Homo sapiens]\nMKV\nLL*\n>lcl|NC_000001.1_cds_NP_2.1_1 [gene=x]\nacgtNN\n"
RECORDS = [("NP_1.1", "a protein [Homo sapiens]", "MKVLL*"), ("lcl|NC_000001.1_cds_NP_2.1_1", "[gene=x]", "ACGTNN")]


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        TEXT.rstrip(b"\n"),
        TEXT.replace(b"\n", b"\r\n"),
        b"\n \n" + TEXT.replace(b"\n", b"\n\n"),
        b"\xef\xbb\xbf" + TEXT,
        TEXT.replace(b"MKV\nLL*", b"M KVL L*"),
        gzip.compress(TEXT),
        gzip.compress(TEXT[:40]) + gzip.compress(TEXT[40:]),
    ],
    ids=["plain", "no last newline", "CRLF", "blank lines", "byte order mark", "spaces", "gzip", "two gzip members"],
)
def test_records_are_the_same_however_the_file_is_written(tmp_path, data):
  assert _records(_write(tmp_path / "x", data)) == RECORDS


def test_gzip_is_told_by_its_bytes_and_not_by_the_name(tmp_path):
  assert _records(_write(tmp_path / "x.fa", gzip.compress(TEXT))) == RECORDS
  assert _records(_write(tmp_path / "x.fa.gz", TEXT)) == RECORDS


def test_records_are_whole_wherever_the_blocks_end(tmp_path, monkeypatch):
  path = _write(tmp_path / "x.fa", TEXT)
  for size in range(1, len(TEXT) + 2):
    monkeypatch.setattr(ranges, "_BLOCK", size)
    assert _records(path) == RECORDS, size


def test_a_long_sequence_on_one_line_is_read_whole(tmp_path):
  sequence = "ACGTTGCA" * 400_000
  (name, _, read), (second, _, _) = _records(_write(tmp_path / "x.fa", f">a\n{sequence}\n>b\nA\n".encode()))
  assert (name, second, read == sequence) == ("a", "b", True)


def test_a_greater_sign_inside_a_line_begins_no_record(tmp_path):
  assert _records(_write(tmp_path / "x.fa", b">a b>c >d\nAC\n")) == [("a", "b>c >d", "AC")]


@pytest.mark.parametrize(
    "data, problem",
    [
        (b"", "the file is empty"),
        (gzip.compress(b""), "the file is empty"),
        (b" \n\n", "blank lines only"),
        (b"ACGT\n>a\nA\n", "does not begin with '>'"),
        (b"; old comment\n>a\nA\n", "does not begin with '>'"),
        (b"\n >a\nA\n", "does not begin with '>'"),
        (b">a\nAC\n>b\n>c\nA\n", "b: a record without a sequence"),
        (b">a\nAC\n>b", "b: a record without a sequence"),
        (b">\nAC\n", "a header without a name"),
        (b">a\nAC\n>b\nAC1\n", "b: b'1' in the sequence"),
        (b">a\nA\0\xff\n", "a: b'\\x00' in the sequence"),
        (b">a\nAC;no comment\n", "a: b';' in the sequence"),
        (b"BZh91AY", "bzip2 data"),
        (b"\xfd7zXZ\0\0", "xz data"),
        (b"PK\x03\x04aa", "zip data"),
    ],
)
def test_bad_files_are_named_with_record_and_remedy(tmp_path, data, problem):
  path = _write(tmp_path / "x.fa", data)
  with pytest.raises(InputError) as error:
    _records(path)
  assert problem in str(error.value)
  assert str(path) in str(error.value)


def test_a_comment_inside_swiss_prot_is_named_with_its_record(shared_data):
  path = shared_data / "proteins" / "uniprot_sprot_12k.fasta.gz"
  with pytest.raises(InputError, match=r"sp\|P19926\|AGP_ECOLI: b';' in the sequence is no letter"):
    _records(path)


def test_a_truncated_gzip_file_is_named_and_not_read_as_a_shorter_one(tmp_path):
  numbers = (f"{i:04}".translate(str.maketrans("0123456789", "ACDEFGHIKL")) for i in range(10_000))
  data = gzip.compress("".join(f">{x}\n{x}\n" for x in numbers).encode())
  path = _write(tmp_path / "x.fa.gz", data[: len(data) // 2])
  with pytest.raises(InputError, match="x.fa.gz: the gzip data end too early.*download it again"):
    _records(path)


def test_corrupt_gzip_data_are_named(tmp_path):
  data = bytearray(gzip.compress(bytes(range(65, 91)) * 1000))
  data[-6] ^= 255  # The checksum.
  with pytest.raises(InputError, match="gzip data are corrupt"):
    compressed.open_binary(_write(tmp_path / "x.gz", bytes(data))).read()
  with pytest.raises(InputError, match="gzip data are corrupt"):
    compressed.open_binary(_write(tmp_path / "y.gz", b"\x1f\x8b" + b"rubbish" * 9)).read()


def test_a_missing_file_and_a_folder_are_named(tmp_path):
  for path in (tmp_path / "none.fa", tmp_path):
    with pytest.raises(InputError, match="cannot be opened"):
      compressed.open_binary(path)


def test_a_disk_that_fails_while_reading_is_told_with_the_file():
  class Failing(io.BytesIO):

    def readinto(self, buffer):
      raise OSError(5, "Input/output error")

  with pytest.raises(InputError, match="x.fa: cannot be read .*Input/output error"):
    io.BufferedReader(compressed._CheckedReader(Failing(), "x.fa")).read()


def test_reading_opens_no_more_than_it_closes(tmp_path, recwarn):
  path = _write(tmp_path / "x.fa.gz", gzip.compress(TEXT))
  with compressed.open_binary(path) as stream:
    stream.read()
  assert stream.closed
  assert not [w for w in recwarn if issubclass(w.category, ResourceWarning)]


def test_text_has_unix_line_ends_and_survives_latin_1(tmp_path):
  with compressed.open_text(_write(tmp_path / "x", "José\r\nMüller\n".encode("latin-1"))) as lines:
    assert list(lines) == ["Jos\ufffd\n", "M\ufffdller\n"]


def test_text_refuses_binary_data(tmp_path):
  with pytest.raises(InputError, match="binary data where text was expected"):
    compressed.open_text(_write(tmp_path / "x", b"ab\0cd"))


def test_a_dictionary_holds_every_record(tmp_path):
  assert fasta.read_fasta_dict(_write(tmp_path / "x.fa", TEXT)) == {name: letters for name, _, letters in RECORDS}


def test_a_dictionary_refuses_two_records_of_one_name(tmp_path):
  with pytest.raises(InputError, match="a: two records with this name"):
    fasta.read_fasta_dict(_write(tmp_path / "x.fa", b">a 1\nA\n>b\nA\n>a 2\nC\n"))
