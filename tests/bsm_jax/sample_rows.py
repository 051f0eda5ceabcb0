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


def write_row_set(root: pathlib.Path, name: str, *, documents: int = 200, seed: int = 0, **changes) -> None:
  """A row set as `data_pipelines` writes it; `changes` override entries of `corpus.json`."""
  rng = np.random.default_rng([seed, len(name), *name.encode()])
  splits = {}
  for split in ("train", "valid"):
    (root / name / split).mkdir(parents=True)
    rows = pack.pack(random_documents(rng, documents if split == "train" else 40), CONTEXT)
    splits[split] = {"rows": pack.write_rows(rows, root / name / split)}
  info = {"name": name, "vocabulary_hash": tokenizer.vocabulary_hash(), "context": CONTEXT, "splits": splits}
  (root / name / "corpus.json").write_text(json.dumps(info | changes))
