"""What a model is asked about: documents of typed sequences, encoded, and cut where they exceed the context."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality

# Typed sequences in their order: `[("dna", "atggcc"), ("protein", "MA")]`.
Document = Sequence[tuple[Modality | str, str]]
Encoded = list[tuple[Modality, np.ndarray]]


class InputError(ValueError):
  """Input that cannot be used; the message names the record and the remedy."""


def encode(document: Document, *, lenient: bool = False, name: str = "") -> Encoded:
  """A document's sequences as ids.

  Args:
    document: typed sequences; letters in either case.
    lenient: write `<unk>` for letters outside the alphabet, instead of raising.
    name: for the error message.

  Raises:
    InputError: a sequence is empty, or there is none.
    TokenizerError: a letter outside the alphabet, or an unknown modality.
  """
  where = f"{name}: " if name else ""
  if not document:
    raise InputError(f"{where}no sequence in the document")
  found = []
  for modality, letters in document:
    modality = modality if isinstance(modality, Modality) else Modality.parse(modality)
    if not letters:
      raise InputError(f"{where}the {modality.name.lower()} sequence is empty: leave the record out")
    found.append((modality, tokenizer.encode(letters, modality, strict=not lenient, name=name)))
  return found


def split(values: np.ndarray, document: Encoded) -> tuple[np.ndarray, ...]:
  """What is known of a document's letters, [letters, ...], by sequence."""
  return tuple(np.split(values, np.cumsum([len(letters) for _, letters in document])[:-1]))


@dataclasses.dataclass(frozen=True)
class Window:
  """A piece of a document that fits the context, and which of its letters it speaks for.

  Attributes:
    tokens: uint8 [n], n <= context. A letter at `at[i]` is predicted at `at[i] - 1`.
    at: int [m]; where in `tokens` the letters stand that it speaks for.
    first: the number of the first of them, all sequences of the document counted through.
  """

  tokens: np.ndarray
  at: np.ndarray
  first: int

  @property
  def letters(self) -> slice:
    """Which of the document's letters it speaks for."""
    return slice(self.first, self.first + len(self.at))


def windows(document: Encoded, context: int, *, cut: bool = True, name: str = "") -> list[Window]:
  """Pieces of at most `context` tokens that speak for every letter once, without `<eos>`.

  A single sequence that is too long is cut as in training: `<bos>` stands only before its true start. Pieces overlap by
  half, so that every letter is told at least the half a context that stands before it.

  Args:
    document: encoded sequences.
    context: tokens.
    cut: False to raise where a document is too long.
    name: for the error message.

  Raises:
    InputError: several sequences that do not fit together; or `cut` is False and one does not fit.
  """
  tokens = tokenizer.join_document(document, eos=False)
  if len(tokens) <= context:
    marks = np.ones(len(tokens), bool)
    at = 0
    for _, letters in document:
      marks[at : at + 2] = False  # <bos> or <sep>, and the tag
      at += 2 + len(letters)
    return [Window(tokens, np.flatnonzero(marks), 0)]
  if not cut or len(document) > 1:
    what = "one sequence" if len(document) == 1 else f"{len(document)} sequences"
    raise InputError(
        f"{name + ': ' if name else ''}{what} of {sum(len(x) for _, x in document):,} letters in all exceed the model's"
        f" context of {context} tokens: cut {'it' if len(document) == 1 else 'them to corresponding parts'}"
    )
  (modality, letters), = document
  room, overlap = context - 1, context // 2
  found = [Window(tokens[:context], np.arange(2, context), 0)]
  done = context - 2
  while done < len(letters):
    start = min(done - overlap, len(letters) - room)
    piece = np.concatenate([[modality], letters[start : start + room]]).astype(np.uint8)
    found.append(Window(piece, np.arange(done - start + 1, len(piece)), done))
    done = start + len(piece) - 1
  return found
