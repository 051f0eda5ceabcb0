"""Rows of like length together: batches whose shape depends on nothing but the rows' own lengths.

A row's result does not depend on what else is asked: rows of a length always meet in batches of one shape, a last batch
that is not full is filled with empty rows, and no row sees another.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bsm_jax import tokenizer
from bsm_jax.inference import documents as documents_lib


class Row(NamedTuple):
  """A window, and the number of the document that it is of."""

  document: int
  window: documents_lib.Window


def cut_to_rows(
    documents: Sequence[documents_lib.Encoded], names: Sequence[str], context: int, *, cut: bool = True
) -> list[Row]:
  """The windows of documents (`documents.windows`)."""
  return [
      Row(number, window)
      for number, (document, name) in enumerate(zip(documents, names, strict=True))
      for window in documents_lib.windows(document, context, cut=cut, name=name)
  ]


class Batch(NamedTuple):
  """Rows that are run together.

  Attributes:
    rows: int [n]; which of the sequences.
    tokens: uint8 [b, s], b >= n; theirs, with padding behind each, and empty rows at the end.
    more: what `batches` was told to keep free for each row.
  """

  rows: np.ndarray
  tokens: np.ndarray
  more: int


def bucket_lengths(context: int) -> list[int]:
  """Lengths to which rows are padded: 32, 64, 96, then four between each power of two and the next, up to the context.

  Finer steps would pad less, but each length is compiled.
  """
  quarters = [(32 << octave) * quarter for octave in range(context.bit_length()) for quarter in range(4, 8)]
  return [n for n in (32, 64, 96, *quarters) if n < context] + [context]


def doubling_lengths(context: int) -> list[int]:
  """Fewer and coarser lengths, 64, 128, 256, … up to the context: where most of the work is not in the rows."""
  return [64 << octave for octave in range(context.bit_length()) if 64 << octave < context] + [context]


def rows_of(length: int, max_tokens: int, places: int) -> int:
  """Rows of a batch whose rows have this length, a multiple of `places`."""
  return max(1, max_tokens // (length * places)) * places


def batches(
    sequences: Sequence[np.ndarray], lengths: Sequence[int], max_tokens: int, places: int = 1,
    more: Callable[[int, int], int] = lambda length, shorter: 0,
) -> Iterator[Batch]:  # fmt: skip
  """Puts sequences into batches, the longest first: what does not fit the memory says so at once.

  Args:
    sequences: tokens, each uint8 [n].
    lengths: to which rows are padded, in ascending order (`bucket_lengths`); no sequence is longer than the last.
    max_tokens: of a batch; a batch has at least one row on each device, however long.
    places: devices that the rows of a batch are spread over.
    more: tokens that each row needs besides, by the length it is padded to and the next shorter such length.
  """
  sizes = np.array([len(tokens) for tokens in sequences], np.int64)
  length_of = np.searchsorted(lengths, sizes)
  for number in reversed(range(len(lengths))):
    members = np.flatnonzero(length_of == number)
    free = more(lengths[number], lengths[number - 1] if number else 0)
    count = rows_of(lengths[number] + free, max_tokens, places)
    for start in range(0, len(members), count):
      rows = members[start : start + count]
      tokens = np.full((count, lengths[number]), tokenizer.PAD, np.uint8)
      for row, of_row in enumerate(rows):
        tokens[row, : sizes[of_row]] = sequences[of_row]
      yield Batch(rows, tokens, free)
