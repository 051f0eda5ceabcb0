"""How likely a model finds each letter of a sequence, given everything before it."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from bsm_jax import model as model_lib
from bsm_jax import tokenizer
from bsm_jax.inference import batches as batches_lib
from bsm_jax.inference import documents as documents_lib
from bsm_jax.inference.documents import Document, Encoded, InputError
from bsm_jax.inference.loaded import Model
from bsm_jax.tokenizer import Modality
from bsm_jax.training import step as step_lib


@dataclasses.dataclass(frozen=True)
class Likelihood:
  """Of one document.

  Attributes:
    parts: for each of its sequences the natural logarithm of the probability of each letter, float32 [letters]; nan for
      `<unk>`, of which a model knows nothing.
  """

  parts: tuple[np.ndarray, ...]

  @property
  def total(self) -> float:
    """Log-likelihood of all letters: their sum. Tags, `<sep>` and `<eos>` do not count."""
    return float(np.nansum(np.concatenate(self.parts), dtype=np.float64))

  @property
  def mean(self) -> float:
    """Per letter, those that are `<unk>` left out; nan if there is no other."""
    letters = np.concatenate(self.parts)
    known = int((~np.isnan(letters)).sum())
    return self.total / known if known else float("nan")


def _score(model: Model, *, across: bool = False) -> Callable[[np.ndarray], np.ndarray]:
  """Batches uint8 [b, s] to the log-probability of each next token, fp32 [b, s]; `across` documents if asked for."""
  name = "score_across_documents" if across else "score"
  if name not in model.compiled:
    apply = model_lib.make_apply(model.config, model.ops)
    losses = functools.partial(step_lib.token_losses, apply, attend_across_documents=across)
    score = lambda params, tokens_bs: -losses(params, tokens_bs)[0]
    model.compiled[name] = jax.jit(score, out_shardings=model.by_row)
  return lambda tokens: np.asarray(model.compiled[name](model.params, jax.device_put(tokens, model.by_row)))


def likelihoods(
    model: Model,
    documents: Sequence[Document],
    *,
    reverse_complement: bool = False,
    cut: bool = True,
    lenient: bool = False,
    max_tokens_per_batch: int | None = None,
    names: Sequence[str] = (),
    progress: Callable[[int], object] = lambda letters: None,
) -> list[Likelihood]:
  """Log-likelihoods of documents, whose result does not depend on what else is asked in the same call.

  Args:
    model: what `load` gives.
    documents: typed sequences, `[("dna", "atggcc"), ("protein", "MA")]`; each given those before it.
    reverse_complement: the mean over both strands, letter by letter (as Evo 2 scores); single DNA sequences only.
    cut: score a sequence beyond the context in overlapping windows (`documents.windows`), instead of raising.
    lenient: see `documents.encode`.
    max_tokens_per_batch: see `batches.batches`; by default what suits the devices.
    names: of the documents, for error messages.
    progress: called with the number of letters of each batch when it is done.

  Raises:
    InputError, TokenizerError: see `documents.encode` and `documents.windows`.
    InputError: both strands of what is not DNA are asked for.
  """
  names = names or [f"document {number}" for number in range(1, len(documents) + 1)]
  forward = [
      documents_lib.encode(document, lenient=lenient, name=name)
      for document, name in zip(documents, names, strict=True)
  ]
  score = functools.partial(_of_letters, model, names=names, cut=cut, progress=progress,
                            max_tokens=max_tokens_per_batch or model.tokens_per_batch)  # fmt: skip
  if not reverse_complement:
    found = score(forward)
  else:
    for document, name in zip(forward, names):
      if [modality for modality, _ in document] != [Modality.DNA]:
        raise InputError(f"{name}: both strands are defined for a single DNA sequence only")
    other = [[(Modality.DNA, tokenizer.reverse_complement(letters))] for ((_, letters),) in forward]
    found = [(one + two[::-1]) / 2 for one, two in zip(score(forward), score(other))]
  return [Likelihood(documents_lib.split(letters, document)) for letters, document in zip(found, forward)]


def _of_letters(model: Model, documents: list[Encoded], *, names, cut, progress, max_tokens) -> list[np.ndarray]:
  """Log-likelihood of each letter, all sequences of a document in one array. Args: see `likelihoods`."""
  score = _score(model)
  found = [np.empty(sum(len(letters) for _, letters in document), np.float32) for document in documents]
  rows = batches_lib.cut_to_rows(documents, names, model.context, cut=cut)
  lengths = batches_lib.bucket_lengths(model.context)
  for batch in batches_lib.batches([row.window.tokens for row in rows], lengths, max_tokens, model.places):
    scores = score(batch.tokens)
    for scores_s, (number, window) in zip(scores, (rows[row] for row in batch.rows)):
      unknown = window.tokens[window.at] == tokenizer.UNK
      found[number][window.letters] = np.where(unknown, np.nan, scores_s[window.at - 1])
    progress(sum(len(rows[row].window.at) for row in batch.rows))
  return found


def likelihoods_behind(
    model: Model,
    rows: Sequence[Sequence[Document]],
    *,
    lenient: bool = False,
    max_tokens_per_batch: int | None = None,
    names: Sequence[str] = (),
    progress: Callable[[int], object] = lambda letters: None,
) -> list[Likelihood]:
  """Log-likelihoods of the last document of each row, the model looking back on all the documents before it.

  The result of a row does not depend on what else is asked in the same call.

  Args:
    model: trained with `data.attend_across_documents`.
    rows: documents as they would be packed in training, each `<bos> … <eos>`; one document or more.
    lenient, max_tokens_per_batch, progress: see `likelihoods`.
    names: of the rows, for error messages.

  Raises:
    InputError: the model was trained inside documents only; a row exceeds the context, or is empty.
    InputError, TokenizerError: see `documents.encode`.
  """
  if not model.attend_across_documents:
    raise InputError(f"{model.name or 'the model'} was trained to attend inside documents: ask `likelihoods`")
  names = names or [f"row {number}" for number in range(1, len(rows) + 1)]
  tokens, windows, last = [], [], []
  for row, name in zip(rows, names, strict=True):
    if not row:
      raise InputError(f"{name}: no document in the row")
    *before, document = [documents_lib.encode(document, lenient=lenient, name=name) for document in row]
    window, = documents_lib.windows(document, model.context, cut=False, name=name)
    tokens.append(np.concatenate([*map(tokenizer.join_document, before), window.tokens]))
    windows.append(window)
    last.append(document)
    if len(tokens[-1]) > model.context:
      raise InputError(
          f"{name}: {len(row)} documents of {len(tokens[-1])} tokens in all exceed the model's context of"
          f" {model.context}: leave some out"
      )
  score = _score(model, across=True)
  found: list[Likelihood | None] = [None] * len(rows)
  lengths = batches_lib.bucket_lengths(model.context)
  for batch in batches_lib.batches(tokens, lengths, max_tokens_per_batch or model.tokens_per_batch, model.places):
    for scores_s, row in zip(score(batch.tokens), batch.rows):
      window = windows[row]
      behind = len(tokens[row]) - len(window.tokens)
      letters = np.where(window.tokens[window.at] == tokenizer.UNK, np.nan, scores_s[behind + window.at - 1])
      found[row] = Likelihood(documents_lib.split(letters.astype(np.float32), last[row]))
    progress(sum(len(windows[row].at) for row in batch.rows))
  return found
