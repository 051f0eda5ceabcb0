"""Tables of sequences: what is read, and what is said where they cannot be."""

import gzip

import pytest

from bsm_jax import table_files


class ReadError(ValueError):
  pass


def rows(path, columns=("id",), remedy="Do this."):
  with table_files.open_table(str(path), ReadError) as table:
    table.require(columns, remedy)
    return list(table)


def test_commas_and_tabs_plain_and_gzip_are_read_alike(tmp_path):
  text = "\ufeffid,seq\r\na,ACGT\r\n\r\nb,\"AC,\nGT\"\r\n"
  (tmp_path / "x.csv").write_bytes(text.encode())
  (tmp_path / "x.TSV.gz").write_bytes(gzip.compress(text.replace("C,\n", "C;\n").replace(",", "\t").encode()))
  assert rows(tmp_path / "x.csv") == [(2, {"id": "a", "seq": "ACGT"}), (5, {"id": "b", "seq": "AC,\nGT"})]
  assert [row["seq"] for _, row in rows(tmp_path / "x.TSV.gz")] == ["ACGT", "AC;\nGT"]


def test_a_field_may_hold_a_long_gene(tmp_path):
  (tmp_path / "x.csv").write_text("id\n" + "A" * 1_000_000 + "\n")
  assert len(rows(tmp_path / "x.csv")[0][1]["id"]) == 1_000_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"id\na\n", r"x.txt: the name must end in .csv or .tsv"),
        ("x.csv", b"name\tseq\na\tb\n", "line 1: no column 'id'; there are: name\tseq. Do this. .*csv .* by commas"),
        ("x.tsv", b"", "x.tsv, line 1: no column 'id'; there are: none"),
        ("x.csv", b"id,id\na,b\n", "x.csv, line 1: more than one column 'id'"),
        ("x.csv", b"id,seq\na,b\nc\n", "x.csv, line 3: not as many fields as the header's 2"),
        ("x.csv", b"id,seq\na,b,c\n", "x.csv, line 2: not as many fields"),
        ("x.csv", b'id\na\n"b\n', "x.csv cannot be read beyond line 3: unexpected end of data. It is damaged"),
        ("x.csv", b"id\n\xff\n", "x.csv cannot be read: .*codec.*get it again"),
        ("x.csv.gz", b"id\na\n", "x.csv.gz cannot be read: Not a gzipped file"),
        ("x.csv.gz", gzip.compress(b"id\na\n")[:-9], "x.csv.gz cannot be read .*: Compressed .*damaged or cut off"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_line_and_the_remedy(tmp_path, name, content, message):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(ReadError, match=message):
    rows(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(ReadError, match="absent.csv cannot be read: .*No such file"):
    rows(tmp_path / "absent.csv")


def test_errors_of_whoever_reads_are_left_alone(tmp_path):
  (tmp_path / "x.csv").write_text("id\na\n")
  with pytest.raises(KeyError):
    with table_files.open_table(str(tmp_path / "x.csv"), ReadError) as table:
      [row["absent"] for _, row in table]
