"""Scores of an assay's variants by likelihood, as Evo does (Nguyen et al. 2024, `evo.score_sequences`).

Behind `<bos>` and the tag, the mean of the log-probabilities of a sequence's letters; `<eos>` does not count, and
nothing of the wild type is subtracted. `inputs` says what the model is shown and which letters count:

* `protein`, `gene`, `rna`: the sequence alone. A protein of a coding sequence is its translation.
* `protein_given_gene`: the gene and then its protein, whose letters alone count.
* `gene_and_protein`: the same, the letters of both counting.

The paper shows gene and protein together and does not say which letters it counts: both are there.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tqdm

from bsm_jax import inference
from bsm_jax.evaluation import dms
from bsm_jax.evaluation.dms import Assay
from bsm_jax.evaluation.tasks.task import TaskError
from bsm_jax.inference.loaded import Model
from bsm_jax.tokenizer import Modality

INPUTS = ("protein", "gene", "rna", "protein_given_gene", "gene_and_protein")
_PAIRS = ("protein_given_gene", "gene_and_protein")
_ALONE = {"protein": Modality.PROTEIN, "gene": Modality.DNA, "rna": Modality.RNA}

POLICY = (
    "a sequence beyond the context in windows that overlap by half, every letter scored once; gene and protein together"
    " in windows of the same codons"
)


class Shown(NamedTuple):
  """A variant as the model is shown it: one document or, beyond the context, windows of it.

  Attributes:
    documents: typed sequences.
    first: for each, how many codons or residues of it another one speaks for.
  """

  documents: tuple[tuple[tuple[Modality, str], ...], ...]
  first: tuple[int, ...]


def show(assay: Assay, letters: str, inputs: str, context: int) -> Shown:
  """What the model is shown of a variant.

  Args:
    assay: whose modality says what the letters are.
    letters: of the variant.
    inputs: of `INPUTS`.
    context: tokens; only pairs are cut here, since `inference.likelihoods` cuts single sequences.

  Raises:
    TaskError: the assay holds no such sequences, or a coding sequence is none.
  """
  wanted = Modality.DNA if inputs in _PAIRS else _ALONE[inputs]
  if assay.modality == wanted and inputs not in _PAIRS:
    return Shown((((wanted, letters),),), (0,))
  if assay.modality != Modality.DNA or wanted == Modality.RNA:
    needed = "RNA" if wanted == Modality.RNA else "coding sequences"
    raise TaskError(f"{assay.path} holds {assay.modality.name.lower()}, and {inputs!r} needs {needed}: take the assay"
                    " in Evo's or RNAGym's layout")
  try:
    protein = dms.translate(letters)
  except ValueError as error:
    raise TaskError(f"{assay.path}: {error}: is it an assay of a gene?") from None
  if inputs == "protein":
    return Shown((((Modality.PROTEIN, protein),),), (0,))
  return _pair(letters, protein, context)


def _pair(gene: str, protein: str, context: int) -> Shown:
  """Gene and protein in windows of the same codons that overlap by half: as pairs are cut for training."""
  if len(gene) + len(protein) + 4 <= context:  # <bos> <dna> … <sep> <protein> …
    return Shown((((Modality.DNA, gene), (Modality.PROTEIN, protein)),), (0,))
  stop = len(gene) - 3 * len(protein)  # the stop codon, which has no residue and stays with the last window
  wide = (context - 4 - stop) // 4
  if wide < 2:
    raise TaskError(f"a context of {context} tokens holds no two codons with their residues")
  documents, first, done = [], [], 0
  while done < len(protein):
    start = max(0, min(done - wide // 2, len(protein) - wide))
    end = min(start + wide, len(protein))
    of_gene = gene[3 * start : 3 * end + (stop if end == len(protein) else 0)]
    documents.append(((Modality.DNA, of_gene), (Modality.PROTEIN, protein[start:end])))
    first.append(done - start)
    done = end
  return Shown(tuple(documents), tuple(first))


def scores(model: Model, assay: Assay, inputs: str, reduce: str = "mean") -> tuple[np.ndarray, np.ndarray]:
  """Scores of an assay's variants, none depending on the others.

  Args:
    model: what `inference.load` gives.
    assay: the variants.
    inputs: of `INPUTS`.
    reduce: "mean" or "sum" of the log-probabilities of the letters that count.

  Returns:
    float64 [variants]; and bool [variants], whether it was longer than the context.

  Raises:
    TaskError: see `show`.
  """
  shown = [show(assay, variant.letters, inputs, model.context) for variant in assay.variants]
  unique = list(dict.fromkeys(document for variant in shown for document in variant.documents))
  total = sum(len(letters) for document in unique for _, letters in document)
  with tqdm.tqdm(total=total, desc=assay.name, unit=" letters", unit_scale=True, leave=False, disable=None) as bar:
    found = dict(zip(unique, inference.likelihoods(model, unique, progress=bar.update)))
  made = np.array([_reduce(variant, found, inputs, reduce) for variant in shown])
  long = lambda document: sum(len(letters) + 2 for _, letters in document) > model.context
  return made, np.array([len(variant.documents) > 1 or long(variant.documents[0]) for variant in shown])


def _reduce(shown: Shown, found: Mapping, inputs: str, reduce: str) -> float:
  counted = []
  for document, first in zip(shown.documents, shown.first):
    parts = found[document].parts
    if inputs == "gene_and_protein":
      counted.append(parts[0][3 * first :])
    counted.append(parts[-1][first:])
  likelihood = inference.Likelihood(tuple(counted))
  return likelihood.mean if reduce == "mean" else likelihood.total
