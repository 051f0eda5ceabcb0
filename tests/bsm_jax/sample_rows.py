"""Rows of random documents, small enough to train on in a test."""

import json
import pathlib

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


def write_row_set(
    root: pathlib.Path, name: str, *, documents: int = 200, seed: int = 0, poison: int | None = None, **changes
) -> None:
  """A row set as `data_pipelines` writes it; rows begin with the token `poison`, if one is given; `changes` override
  entries of `corpus.json`."""
  rng = np.random.default_rng([seed, len(name), *name.encode()])
  splits = {}
  for split in ("train", "valid"):
    (root / name / split).mkdir(parents=True)
    rows = list(pack.pack(random_documents(rng, documents if split == "train" else 40), CONTEXT))
    if poison is not None:
      rows = [bytes([poison]) + row[1:] for row in rows]
    splits[split] = {"rows": pack.write_rows(rows, root / name / split)}
  info = {"name": name, "vocabulary_hash": tokenizer.vocabulary_hash(), "context": CONTEXT, "splits": splits}
  (root / name / "corpus.json").write_text(json.dumps(info | changes))
