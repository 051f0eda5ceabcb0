"""Cutting a large file of lines into byte ranges that many tasks read, each on its own.

A line belongs to the range that holds the line end before it, the first line to the range that begins at 0: whatever
the cuts, each line belongs to exactly one range. Ranges count the bytes on disk. Plain files are cut anywhere; BGZF
(https://samtools.github.io/hts-specs/SAMv1.pdf, section 4.1: what `bgzip` writes) between its blocks; other gzip files
are one range.
"""

import os
import re
import zlib
from collections.abc import Iterator

from data_pipelines.errors import InputError
from data_pipelines.formats import compressed

Range = tuple[int, int]

_BLOCK = 1 << 18
# A BGZF block is a gzip member whose extra field holds one subfield, BC, of two bytes: the block's size less 1.
_BGZF_BLOCK = re.compile(rb"\x1f\x8b\x08\x04.{6}\x06\0BC\x02\0(..)", re.DOTALL)
_BGZF_HEADER, _BGZF_LARGEST = 18, 1 << 16
_GZIP = b"\x1f\x8b"


def cuts(path: str | os.PathLike, bytes_per_range: int) -> list[Range]:
  """The ranges (start, stop) of a file, each of some `bytes_per_range` on disk; one where the file cannot be cut.

  Raises:
    InputError: the file is missing, empty, or compressed in a way that is not read.
  """
  compressed.open_binary(path).close()
  size, start = os.path.getsize(path), _start(path)
  if start.startswith(_GZIP) and not _bgzf_size(start):
    return [(0, size)]
  return even_cuts(size, bytes_per_range)


def even_cuts(size: int, bytes_per_range: int) -> list[Range]:
  """The ranges of `size` bytes, all but the last of `bytes_per_range`."""
  if bytes_per_range < 1:
    raise ValueError(f"bytes_per_range={bytes_per_range}: at least 1")
  return [(start, min(start + bytes_per_range, size)) for start in range(0, size, bytes_per_range)]


def _start(path: str | os.PathLike) -> bytes:
  with compressed.open_at(path) as stream:
    return stream.read(_BGZF_HEADER)


def _bgzf_size(header: bytes) -> int:
  """Size on disk of the BGZF block with this header, 0 where it is none."""
  match = _BGZF_BLOCK.match(header)
  return int.from_bytes(match[1], "little") + 1 if match else 0


def read_lines(path: str | os.PathLike, start: int = 0, stop: int | None = None) -> Iterator[tuple[bytes, bool]]:
  """Yields blocks of whole lines (the file's last may lack its end), from the range's first line to the file's end.

  The caller stops where it has enough: a record may need lines that belong to the next range.

  Args:
    path: plain or gzip; of gzip only BGZF has other ranges than the whole.
    start, stop: the range; None: to the file's end.

  Yields:
    lines: some 256 KiB, more where a line is longer.
    ours: whether they belong to the range.

  Raises:
    InputError: as `compressed.open_binary`; a range of a gzip file that is not BGZF.
  """
  if stop is not None and stop <= start:
    return
  pieces: list[bytes] = []  # A line that has begun but not yet ended.
  begun, ours = start == 0, True
  for inside, data in _chunks(path, start, stop):
    if not begun:
      if not inside:
        return  # The range lies within one line.
      _, line_end, data = data.partition(b"\n")
      begun = bool(line_end)
    if ours and not inside:
      end = data.find(b"\n") + 1
      if not end:
        pieces.append(data)
        continue
      yield b"".join([*pieces, data[:end]]), True
      pieces, data, ours = [], data[end:], False
    if begun and data:
      end = data.rfind(b"\n") + 1
      if end:
        yield b"".join([*pieces, data[:end]]), ours
        pieces = []
      if end < len(data):
        pieces.append(data[end:])
  if pieces:
    yield b"".join(pieces), ours


def _chunks(path: str | os.PathLike, start: int, stop: int | None) -> Iterator[tuple[bool, bytes]]:
  """The file's bytes from `start` on, and whether they lie before `stop`."""
  first = _start(path)
  size = os.path.getsize(path)
  stop = size if stop is None else stop
  if start == 0 and stop >= size:
    with compressed.open_binary(path) as stream:
      while data := stream.read(_BLOCK):
        yield True, data
    return
  if _bgzf_size(first):
    yield from _bgzf_chunks(path, start, stop)
    return
  if first.startswith(_GZIP):
    remedy = "Read the whole file in one task, or compress it with bgzip instead of gzip."
    raise InputError(path, f"gzip data cannot be read from byte {start} to {stop}", remedy)
  compressed.open_binary(path).close()  # It refuses what is compressed in another way.
  with compressed.open_at(path, start) as stream:
    while data := stream.read(min(_BLOCK, stop - start) if start < stop else _BLOCK):
      yield start < stop, data
      start += len(data)


def _bgzf_chunks(path: str | os.PathLike, start: int, stop: int) -> Iterator[tuple[bool, bytes]]:
  with compressed.open_at(path, start) as stream:
    # Should the header stand in compressed letters by chance, their checksum will not fit. The block that a range
    # begins with is also read by the range before, which comes to it from its own last one: none is passed over.
    window = stream.read(_BGZF_LARGEST + _BGZF_HEADER)
  found = _BGZF_BLOCK.search(window)
  if not found:
    return
  at = start + found.start()
  with compressed.open_at(path, at) as stream:
    while header := stream.read(_BGZF_HEADER):
      size = _bgzf_size(header)
      block = header + stream.read(max(size - _BGZF_HEADER, 0))
      if not size or len(block) < size:
        remedy = "The file is damaged or truncated: download it again."
        raise InputError(path, f"no whole BGZF block at byte {at}", remedy)
      member = zlib.decompressobj(wbits=31)
      try:
        data = member.decompress(block)
      except zlib.error as error:
        problem = f"the BGZF block at byte {at} is corrupt ({error})"
        raise InputError(path, problem, "Download the file again.") from error
      if not member.eof or member.unused_data:
        problem = f"the BGZF block at byte {at} is not as long as its header says"
        raise InputError(path, problem, "The file is damaged: download it again.")
      if data:
        yield at < stop, data
      at += size
