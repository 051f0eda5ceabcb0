"""Byte ranges of one file, read by tasks that know nothing of each other: FASTA records and plain lines."""

import gzip
import random
import re
import struct
import zlib

import hypothesis
import pytest
from hypothesis import strategies as st

from data_pipelines.errors import InputError
from data_pipelines.formats import fasta, ranges

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def bgzf(data: bytes, block: int) -> bytes:
  """What bgzip writes, with blocks of so many letters."""
  blocks = []
  for at in range(0, len(data), block):
    letters = data[at : at + block]
    deflate = zlib.compressobj(wbits=-15)
    body = deflate.compress(letters) + deflate.flush()
    header = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
    blocks.append(header + body + struct.pack("<II", zlib.crc32(letters), len(letters)))
  return b"".join(blocks) + BGZF_END


def read_all(path, cuts):
  """The records of all ranges, each read on its own, last range first."""
  parts = [list(fasta.read_fasta(path, start=a, stop=b)) for a, b in reversed(cuts)]
  return [record for part in reversed(parts) for record in part]


def between(points, size):
  ends = sorted({0, size, *(point for point in points if point < size)})
  return list(zip(ends, ends[1:]))


def even(path, size):
  return ranges.even_cuts(path.stat().st_size, size)


LINES = st.lists(
    st.sampled_from([b">a\n", b">b 3'->5' >x\n", b">c\r\n", b"ACGT\n", b"acgtacgtacgt\n", b"\n", b" \n", b"AC\r\n"]),
    max_size=12,
)


@pytest.mark.parametrize("compress", [None, 7, 64])
@hypothesis.given(lines=LINES, ends_line=st.booleans(), points=st.lists(st.integers(0, 400), max_size=6))
@hypothesis.settings(max_examples=200, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_ranges_together_hold_every_record_once_and_in_order(tmp_path, compress, lines, ends_line, points):
  data = b">first\nAC\n" + b"".join(lines)
  data = data if ends_line else data.rstrip(b"\n")
  path = tmp_path / "x.fa"
  path.write_bytes(data if compress is None else bgzf(data, compress))
  cuts = between(points, path.stat().st_size)
  try:
    whole = list(fasta.read_fasta(path))
  except InputError as error:
    with pytest.raises(InputError) as again:
      read_all(path, cuts)
    assert again.value.record == error.record or len(cuts) > 1  # Another range may meet another bad record first.
  else:
    assert read_all(path, cuts) == whole


@pytest.mark.parametrize("compress", [None, 5])
def test_every_single_cut_gives_the_same_records(tmp_path, monkeypatch, compress):
  monkeypatch.setattr(ranges, "_BLOCK", 3)
  data = b"\n>a b\nAC\nGT\n>c\nA\n\n>d\nACGTACGT"
  path = tmp_path / "x.fa"
  path.write_bytes(data if compress is None else bgzf(data, compress))
  whole = list(fasta.read_fasta(path))
  assert [record.name for record in whole] == ["a", "c", "d"]
  for cut in range(1, path.stat().st_size):
    assert read_all(path, [(0, cut), (cut, path.stat().st_size)]) == whole, cut
  assert read_all(path, even(path, 1)) == whole


def test_a_record_longer_than_many_ranges_belongs_to_the_first(tmp_path):
  path = tmp_path / "x.fa"
  path.write_text(">a\n" + "ACGT" * 300_000 + "\n>b\nA\n")
  cuts = ranges.cuts(path, 100_000)
  counts = [len(list(fasta.read_fasta(path, start=a, stop=b))) for a, b in cuts]
  assert len(cuts) == 13
  assert [i for i, count in enumerate(counts) if count] == [0, 12]


def test_an_empty_range_and_one_behind_the_end_hold_nothing(tmp_path):
  path = tmp_path / "x.fa"
  path.write_text(">a\nA\n")
  assert not read_all(path, [(0, 0), (2, 2), (5, 9), (99, 100)])


def test_plain_gzip_is_one_range_and_is_refused_in_parts(tmp_path):
  path = tmp_path / "x.fa.gz"
  path.write_bytes(gzip.compress(b">a\nACGTACGTACGT\n"))
  size = path.stat().st_size
  assert ranges.cuts(path, 5) == [(0, size)]
  assert len(read_all(path, ranges.cuts(path, 5))) == 1
  for start, stop in [(0, 5), (5, size), (5, None)]:
    with pytest.raises(InputError, match="x.fa.gz: gzip data cannot be read from byte.*bgzip"):
      list(fasta.read_fasta(path, start=start, stop=stop))


def test_cuts_cover_the_file_and_refuse_what_is_none(tmp_path):
  path = tmp_path / "x.fa"
  path.write_bytes(b">a\nACGT\n")
  assert ranges.cuts(path, 3) == [(0, 3), (3, 6), (6, 8)]
  assert ranges.cuts(path, 100) == [(0, 8)]
  with pytest.raises(ValueError, match="at least 1"):
    ranges.cuts(path, 0)
  with pytest.raises(InputError, match="cannot be opened"):
    ranges.cuts(tmp_path / "none", 3)


def test_bad_records_are_told_by_the_range_that_holds_them(tmp_path):
  path = tmp_path / "x.fa"
  path.write_text(">a\nACGT\n>b\nAC1\n>c\nA\n")
  assert len(list(fasta.read_fasta(path, start=0, stop=5))) == 1
  with pytest.raises(InputError, match="b: b'1' in the sequence"):
    list(fasta.read_fasta(path, start=5, stop=10))
  assert len(list(fasta.read_fasta(path, start=12, stop=20))) == 1


@pytest.mark.parametrize(
    "text, problem", [("\n" * 50, "blank lines only"), ("\n" * 50 + "x\n>a\nA\n", "does not begin with '>'")]
)
def test_what_is_before_the_first_record_is_told_wherever_the_first_range_ends(tmp_path, text, problem):
  path = tmp_path / "x.fa"
  path.write_text(text)
  for stop in range(1, len(text) + 1):
    with pytest.raises(InputError, match=problem):
      list(fasta.read_fasta(path, start=0, stop=stop))


@pytest.fixture(scope="module")
def many_blocks() -> bytes:
  """Some 60 kB on disk, so that no look at the file's beginning meets what is damaged further on."""
  letters = random.Random(1)
  records = (f">{i}\n{''.join(letters.choices('ACDEFGHIKLMNPQRSTVWY', k=200))}\n" for i in range(500))
  return bgzf("".join(records).encode(), 1500)


@pytest.mark.parametrize("size", [500, 1100, 5000, 50_000])
@pytest.mark.parametrize("where", ["header", "size", "letters", "checksum"])
def test_a_damaged_bgzf_block_is_told_by_some_range_whatever_the_cuts(tmp_path, many_blocks, where, size):
  starts = [match.start() for match in re.finditer(re.escape(BGZF_END[:4]), many_blocks)]
  assert len(starts) > 60
  path = tmp_path / "x.fa.gz"
  for block in (40, 41, 42, 43, len(starts) - 2):
    places = {"header": 0, "size": 16, "letters": 90, "checksum": starts[block + 1] - starts[block] - 6}
    damaged = bytearray(many_blocks)
    damaged[starts[block] + places[where]] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="block at byte"):
      read_all(path, even(path, size))


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_a_block_that_claims_to_be_longer_swallows_none_behind_it(tmp_path, many_blocks, blocks):
  starts = [match.start() for match in re.finditer(re.escape(BGZF_END[:4]), many_blocks)]
  damaged = bytearray(many_blocks)
  damaged[starts[40] + 16 : starts[40] + 18] = struct.pack("<H", starts[40 + blocks + 1] - starts[40] - 1)
  path = tmp_path / "x.fa.gz"
  path.write_bytes(damaged)
  with pytest.raises(InputError, match="is not as long as its header says"):
    read_all(path, even(path, 5000))


def test_truncated_bgzf_is_told_by_the_range_that_it_ends_in(tmp_path, many_blocks):
  path = tmp_path / "x.fa.gz"
  for missing in (1, 10, 40, 700):
    path.write_bytes(many_blocks.removesuffix(BGZF_END)[:-missing])
    cuts = even(path, 10_000)
    assert list(fasta.read_fasta(path, start=cuts[1][0], stop=cuts[1][1]))
    with pytest.raises(InputError, match="no whole BGZF block at byte"):
      read_all(path, cuts)
