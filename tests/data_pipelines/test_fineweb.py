"""Web documents from Parquet and JSON lines: the same records whatever the file, and damage is named."""

import gzip
import io
import json
import tarfile

import pyarrow
import pyarrow.parquet
import pytest

from data_pipelines.errors import InputError
from data_pipelines.formats.fineweb import REASONS, WebDocument, read_documents, units
from data_pipelines.genes import Reject

ROWS = [
    {
        "text": f"text {i} — ATGGCC, 序列 🧬",
        "id": f"<urn:uuid:{i}>",
        "dump": "CC-MAIN-2017-34",
        "url": f"http://example.org/{i}",
        "file_path": "s3://x",
        "language": "en",
        "language_score": 0.98,
        "token_count": 812,
        "score": 3.1,
        "int_score": 3,
    }
    for i in range(10)
]
DOCUMENTS = [WebDocument(row["id"], row["text"], row["url"], "en") for row in ROWS]


def _parquet(path, rows=ROWS, group=3, **columns):
  table = pyarrow.Table.from_pylist(rows)
  for name, values in columns.items():
    table = table.append_column(name, values)
  pyarrow.parquet.write_table(table, path, row_group_size=group)
  return path


def _lines(rows=ROWS, *, ascii_only=False):
  return b"".join(json.dumps(row, ensure_ascii=ascii_only).encode() + b"\n" for row in rows)


def _write(path, data):
  path.write_bytes(data)
  return path


def _zstd(data: bytes) -> bytes:
  return pyarrow.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    "data",
    [
        _lines(),
        _lines(ascii_only=True),
        _lines().rstrip(b"\n"),
        _lines().replace(b"\n", b"\r\n"),
        _lines().replace(b"\n", b"\n\n"),
        gzip.compress(_lines()),
        gzip.compress(_lines(ROWS[:4])) + gzip.compress(_lines(ROWS[4:])),
        _zstd(_lines()),
    ],
    ids=["plain", "escaped", "no last newline", "CRLF", "blank lines", "gzip", "two gzip members", "zstd"],
)
def test_json_lines_are_read_however_they_are_written(tmp_path, data):
  path = _write(tmp_path / "x", data)
  assert list(read_documents(path)) == DOCUMENTS
  assert units(path) == [(0, 1)]
  assert list(read_documents(path, start=0, stop=1)) == DOCUMENTS
  assert list(read_documents(path, start=1)) == []


def test_parquet_is_read_in_order(tmp_path):
  assert list(read_documents(_parquet(tmp_path / "x.parquet"))) == DOCUMENTS


def test_parquet_is_told_by_its_bytes_and_other_columns_do_not_matter(tmp_path):
  path = _parquet(tmp_path / "x.dat", date=pyarrow.array(["2017"] * 10))
  assert list(read_documents(path)) == DOCUMENTS


def test_large_strings_and_missing_optional_columns_are_read(tmp_path):
  table = pyarrow.table({"id": pyarrow.array(["a"], pyarrow.large_string()), "text": pyarrow.array(["t"])})
  pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
  assert list(read_documents(tmp_path / "x.parquet")) == [WebDocument("a", "t")]


@pytest.mark.parametrize("size", [1, 500, 1 << 30])
def test_ranges_cover_a_parquet_file_once(tmp_path, size):
  path = _parquet(tmp_path / "x.parquet", group=2)
  ranges = units(path, size=size)
  assert [stop for _, stop in ranges[:-1]] == [start for start, _ in ranges[1:]]
  assert (ranges[0][0], ranges[-1][1]) == (0, 5)
  assert len(ranges) == {1: 5, 1 << 30: 1}.get(size, len(ranges))
  assert [d for start, stop in ranges for d in read_documents(path, start=start, stop=stop)] == DOCUMENTS


def test_a_parquet_file_without_rows_has_no_documents(tmp_path):
  schema = pyarrow.schema([("id", pyarrow.string()), ("text", pyarrow.string())])
  path = tmp_path / "x.parquet"
  pyarrow.parquet.write_table(schema.empty_table(), path)
  assert list(read_documents(path)) == []
  assert [d for start, stop in units(path) for d in read_documents(path, start=start, stop=stop)] == []


BAD_LINES = {
    "no JSON": (b"{'id': 1}\n", "bad_json"),
    "a list": (b"[1, 2]\n", "bad_json"),
    "deep nesting": (b"[" * 100_000 + b"\n", "bad_json"),
    "no text": (b'{"id": "x", "text": null}\n', "no_text"),
    "empty text": (b'{"id": "x", "text": ""}\n', "no_text"),
    "a number": (b'{"id": "x", "text": 3}\n', "no_text"),
    "an odd url": (b'{"id": "x", "text": "t", "url": 3}\n', "no_text"),
    "Latin-1": ('{"id": "x", "text": "é"}\n'.encode("latin-1"), "not_utf8"),
}


@pytest.mark.parametrize(("line", "code"), BAD_LINES.values(), ids=BAD_LINES)
def test_one_bad_line_is_a_reject_that_names_it_and_the_rest_is_read(tmp_path, line, code):
  path = _write(tmp_path / "x.jsonl", _lines(ROWS[:2]) + line + _lines(ROWS[2:]))
  records = list(read_documents(path))
  rejects = [record for record in records if isinstance(record, Reject)]
  assert [(r.code, r.record) for r in rejects] == [(code, "line 3")]
  assert code in REASONS
  assert [record for record in records if not isinstance(record, Reject)] == DOCUMENTS


def test_strict_reading_stops_at_the_first_bad_line(tmp_path):
  path = _write(tmp_path / "x.jsonl", _lines(ROWS[:2]) + b"{\n" + _lines(ROWS[2:]))
  with pytest.raises(InputError, match=r"x\.jsonl: line 3: the line is no JSON object") as error:
    list(read_documents(path, strict=True))
  assert error.value.record == "line 3"


def test_bad_rows_of_parquet_are_rejects_that_name_group_and_row(tmp_path):
  texts = pyarrow.array([b"good", None, b"caf\xe9", b"", b"good"], pyarrow.binary()).view(pyarrow.string())
  table = pyarrow.table({"id": pyarrow.array(list("abcde")), "text": texts})
  pyarrow.parquet.write_table(table, tmp_path / "x.parquet", row_group_size=2)
  records = list(read_documents(tmp_path / "x.parquet"))
  assert [record.id for record in records if isinstance(record, WebDocument)] == ["a", "e"]
  assert [(r.code, r.record) for r in records if isinstance(r, Reject)] == [
      ("no_text", "row group 0, row 1"), ("not_utf8", "row group 1, row 0"), ("no_text", "row group 1, row 1")
  ]  # fmt: skip


def test_a_lone_surrogate_is_replaced_so_that_the_text_can_be_written(tmp_path):
  path = _write(tmp_path / "x.jsonl", b'{"id": "x", "text": "a\\ud800b"}\n')
  (record,) = read_documents(path)
  assert record.text == "a?b"


TRUNCATED = {
    "plain": (_lines()[:-30], "line 10"),
    "gzip": (gzip.compress(_lines() * 50)[:-30], "end too early|corrupt"),
    "zstd": (_zstd(_lines() * 50)[:-30], "truncated or damaged"),
}


@pytest.mark.parametrize(("data", "message"), TRUNCATED.values(), ids=TRUNCATED)
def test_truncated_json_lines_are_an_error_that_names_the_file(tmp_path, data, message):
  path = _write(tmp_path / "cut.jsonl", data)
  with pytest.raises(InputError, match=f"cut.jsonl.*({message})"):
    list(read_documents(path))


@pytest.mark.parametrize("keep", [4, 100, -10])
def test_a_truncated_parquet_file_is_an_error_that_names_it(tmp_path, keep):
  whole = _parquet(tmp_path / "x.parquet").read_bytes()
  path = _write(tmp_path / "cut.parquet", whole[:keep])
  for read in (lambda: list(read_documents(path)), lambda: units(path)):
    with pytest.raises(InputError, match=r"cut\.parquet: truncated or damaged Parquet.*Download"):
      read()


def test_damage_inside_a_row_group_names_the_group(tmp_path):
  rows = [{"id": str(i), "text": "".join(chr(97 + (i * j) % 26) for j in range(400))} for i in range(200)]
  path = _parquet(tmp_path / "x.parquet", rows, group=100)
  data = bytearray(path.read_bytes())
  start = pyarrow.parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
  data[start : start + 2000] = bytes(2000)
  with pytest.raises(InputError, match="row group 1"):
    list(read_documents(_write(tmp_path / "bad.parquet", bytes(data))))


def _tar() -> bytes:
  sink = io.BytesIO()
  with tarfile.open(fileobj=sink, mode="w") as archive:
    member = tarfile.TarInfo("x.jsonl")
    member.size = len(_lines())
    archive.addfile(member, io.BytesIO(_lines()))
  return gzip.compress(sink.getvalue())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b">seq\nACGT\n", "neither Parquet nor JSON lines"),
        (_tar(), "neither Parquet nor JSON lines"),
        (b'{"name": "x"}\n', "no field id, text"),
        (b'{"id": "x"}\n', "no field text"),
    ],
    ids=["empty", "FASTA", "a tar archive", "other fields", "no text"],
)
def test_a_file_of_another_kind_is_an_error_that_says_what_is_expected(tmp_path, data, message):
  with pytest.raises(InputError, match=message) as error:
    list(read_documents(_write(tmp_path / "x", data)))
  assert str(tmp_path / "x") in str(error.value)


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
  with pytest.raises(InputError, match=r"gone\.parquet: cannot be opened"):
    list(read_documents(tmp_path / "gone.parquet"))


@pytest.mark.parametrize("columns", [{"id": ["a"]}, {"id": ["a"], "text": [1]}, {"id": [1], "text": ["t"]}])
def test_parquet_with_other_columns_is_an_error_that_lists_them(tmp_path, columns):
  pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
  with pytest.raises(InputError, match="no string column .*; it has id"):
    list(read_documents(tmp_path / "x.parquet"))


@pytest.mark.parametrize(("start", "stop"), [(0, 9), (-1, 2), (3, 2)])
def test_a_range_outside_the_file_is_an_error(tmp_path, start, stop):
  with pytest.raises(InputError, match=f"row groups {start} to {stop} of 4"):
    list(read_documents(_parquet(tmp_path / "x.parquet"), start=start, stop=stop))
  with pytest.raises(InputError, match="It is one piece"):
    list(read_documents(_write(tmp_path / "x.jsonl", _lines()), start=start, stop=stop))
