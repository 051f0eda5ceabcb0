"""Packing: whole documents in rows of one length, and rows on disk."""

import errno
import os
import subprocess

import hypothesis
import numpy as np
import pytest
from array_record.python import array_record_module
from hypothesis import strategies as st

from bsm_jax.tokenizer import BOS, PAD
from data_pipelines import pack
from data_pipelines.pack import BuildError

CONTEXT = 32


@st.composite
def documents(draw):
  """Documents with and without `<bos>`, of any length that fits."""
  shapes = draw(st.lists(st.tuples(st.integers(1, CONTEXT), st.booleans()), max_size=80))
  rng = np.random.default_rng(draw(st.integers(0, 2**32)))
  made = [rng.integers(8, 40, size).astype(np.uint8) for size, _ in shapes]
  for document, (_, has_bos) in zip(made, shapes):
    if has_bos:
      document[0] = BOS
  return made


def split_row(row):
  """The documents of a row: each but the first begins at a `<bos>`."""
  letters = np.frombuffer(row.rstrip(bytes([PAD])), np.uint8)
  return [piece.tobytes() for piece in np.split(letters, np.flatnonzero(letters == BOS)) if len(piece)]


class TestPacker:

  @hypothesis.given(documents(), st.integers(1, 8))
  def test_every_document_is_in_the_rows_once_and_whole(self, made, open_rows):
    rows = list(pack.pack(made, CONTEXT, open_rows))
    assert all(len(row) == CONTEXT for row in rows)
    assert sorted(d for row in rows for d in split_row(row)) == sorted(d.tobytes() for d in made)

  @hypothesis.given(documents())
  def test_a_continuation_opens_a_row(self, made):
    rows = list(pack.pack(made, CONTEXT))
    openings = sum(row[0] != BOS for row in rows)
    assert openings == sum(d[0] != BOS for d in made)

  @hypothesis.given(documents(), st.integers(1, 8))
  def test_the_same_documents_give_the_same_rows(self, made, open_rows):
    assert list(pack.pack(made, CONTEXT, open_rows)) == list(pack.pack(made, CONTEXT, open_rows))

  def test_a_document_goes_where_the_least_room_holds_it(self):
    def document(size):
      return np.full(size, BOS, np.uint8)

    rows = list(pack.pack([document(n) for n in (20, 25, 7, 12)], CONTEXT))
    assert sorted(sum(t != PAD for t in row) for row in rows) == [32, 32]

  def test_no_more_rows_are_open_than_allowed(self):
    packer = pack.Packer(CONTEXT, open_rows=3)
    closed = [packer.add(np.full(17, BOS, np.uint8)) for _ in range(10)]
    assert [row is not None for row in closed] == [False] * 3 + [True] * 7
    assert len(list(packer.flush())) == 3

  @pytest.mark.parametrize("size", [0, CONTEXT + 1])
  def test_a_document_that_fits_no_row_is_an_error(self, size):
    with pytest.raises(ValueError, match=f"a document of {size} tokens does not fit a row of 32"):
      pack.Packer(CONTEXT).add(np.full(size, BOS, np.uint8))

  def test_short_documents_fill_their_rows(self):
    rng = np.random.default_rng(0)
    made = [np.full(n, BOS, np.uint8) for n in rng.integers(40, 250, 5000)]
    rows = list(pack.pack(made, 512))
    assert sum(map(len, made)) / (512 * len(rows)) > 0.96

  def test_shuffling_keeps_every_document(self):
    made = [np.array([BOS, i % 250, i // 250], np.uint8) for i in range(1000)]
    mixed = list(pack.shuffled(made, np.random.default_rng(0), block=64))
    assert sorted(map(bytes, mixed)) == sorted(map(bytes, made))
    assert [bytes(d) for d in mixed[:64]] != [bytes(d) for d in made[:64]]


def rows_of(count, context=CONTEXT):
  return [np.full(context, i % 251, np.uint8).tobytes() for i in range(count)]


def read(path):
  reader = array_record_module.ArrayRecordReader(str(path))
  return reader.read(0, reader.num_records())


class TestRowsOnDisk:

  def test_rows_are_read_back_from_numbered_shards(self, tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "ROWS_PER_SHARD", 40)
    made = rows_of(100)
    assert pack.write_rows(iter(made), tmp_path) == 100
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == [f"rows-0000{i}-of-00003.array_record" for i in range(3)]
    assert [row for name in names for row in read(tmp_path / name)] == made

  def test_the_same_rows_give_the_same_bytes(self, tmp_path):
    for folder in ("a", "b"):
      (tmp_path / folder).mkdir()
      pack.write_rows(rows_of(50), tmp_path / folder)
    name = "rows-00000-of-00001.array_record"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()

  def test_a_shard_that_lost_rows_is_noticed(self, tmp_path, monkeypatch):
    class Forgetful:

      def __init__(self, path, options):
        self._writer = array_record_module.ArrayRecordWriter(path, options)
        self._count = 0

      def write(self, row):
        self._count += 1
        if self._count != 7:
          self._writer.write(row)

      def close(self):
        self._writer.close()

    class Module:
      ArrayRecordWriter = Forgetful
      ArrayRecordReader = array_record_module.ArrayRecordReader

    monkeypatch.setattr(pack, "array_record_module", Module)
    with pytest.raises(BuildError, match="holds 49 rows where 50 were written"):
      pack.write_rows(rows_of(50), tmp_path)

  @pytest.mark.parametrize("error", [
      OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
      RuntimeError("write() failed: No space left on device; writing x"),
  ])
  def test_a_full_disk_is_named_with_its_remedy(self, tmp_path, monkeypatch, error):
    class Module:

      class ArrayRecordWriter:

        def __init__(self, *args):
          pass

        def write(self, row):
          raise error

    monkeypatch.setattr(pack, "array_record_module", Module)
    with pytest.raises(BuildError) as raised:
      pack.write_rows(rows_of(5), tmp_path)
    assert str(tmp_path) in str(raised.value) and "the disk is full" in str(raised.value)
    assert "free some space" in str(raised.value)

  def test_another_error_is_not_called_a_full_disk(self, tmp_path):
    def rows():
      yield bytes(CONTEXT)
      raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
      pack.write_rows(rows(), tmp_path)

  def test_a_disk_that_really_is_full(self, tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
      pytest.skip("only root can make a small disk")
    try:
      noise = np.random.default_rng(0).integers(0, 256, (2000, 1024), np.uint8)
      with pytest.raises(BuildError, match="the disk is full"):
        pack.write_rows((row.tobytes() for row in noise), tmp_path)
    finally:
      subprocess.run(["umount", tmp_path], check=True)
