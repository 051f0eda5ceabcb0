"""Rows of random documents, small enough to train on in a test."""

import json
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from bsm_jax import tokenizer
from data_pipelines import pack

CONTEXT = 64


def random_documents(rng: np.random.Generator, count: int) -> list[np.ndarray]:
  """DNA-protein documents of 10 to 40 tokens with random letters."""
  documents = []
  for _ in range(count):
    k = int(rng.integers(1, 9))
    dna = "".join(rng.choice(list("acgt"), 3 * k))
    protein = "".join(rng.choice(list(tokenizer.AMINO_ACIDS), k))
    documents.append(tokenizer.encode_document([(tokenizer.Modality.DNA, dna), (tokenizer.Modality.PROTEIN, protein)]))
  return documents


def batch_of_rows(tokens: np.ndarray, row_sets: int = 1) -> dict[str, np.ndarray]:
  """What a train step takes: rows of each row set in turn."""
  index = np.arange(len(tokens), dtype=np.int32)
  return {"tokens": tokens, "row_set": index % row_sets, "row": index, "stop": np.zeros(len(tokens), bool)}


def write_packed(
    root: pathlib.Path, name: str, splits: Mapping[str, Iterable[bytes]], context: int = CONTEXT, **changes
) -> None:
  """A row set of packed rows by split, as `data_pipelines` writes it; `changes` override entries of `corpus.json`."""
  written = {}
  for split, rows in splits.items():
    (root / name / split).mkdir(parents=True)
    written[split] = {"rows": pack.write_rows(rows, root / name / split)}
  info = {"name": name, "vocabulary_hash": tokenizer.vocabulary_hash(), "context": context, "splits": written}
  (root / name / "corpus.json").write_text(json.dumps(info | changes))


def write_row_set(
    root: pathlib.Path, name: str, *, documents: int = 200, seed: int = 0, poison: int | None = None, **changes
) -> None:
  """A row set of random documents; rows begin with the token `poison`, if one is given; for `changes` see above."""
  rng = np.random.default_rng([seed, len(name), *name.encode()])
  splits = {}
  for split, count in (("train", documents), ("valid", 40)):
    splits[split] = list(pack.pack(random_documents(rng, count), CONTEXT))
    if poison is not None:
      splits[split] = [bytes([poison]) + row[1:] for row in splits[split]]
  write_packed(root, name, splits, **changes)
