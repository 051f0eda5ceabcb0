"""Row sets that tell whether a model translates; `python -m bsm_jax.evaluation.translation` reads them.

  python -m data_pipelines.build --config=configs/data/diagnostics.py --config.data=DIR --out=DIR

With the sources of `configs/data/small.py`: give the same `--out`, and its documents are used. Another config has them
too after `config.row_sets.update(diagnostics.row_sets(config.context))`.

Names say what a row set is: `diagnose_<organism>_code<genetic code>_<windows>_<condition>`. Windows: `w10_60` are 10 to
60 codons; `full` as many as the context holds beside their residues; `whole` the same for every gene, of which the
evaluation takes those that fit whole; `introns` genomic DNA, of which it takes windows with an intron, and `spliced`
the same windows without. The conditions of one organism and windows show the same windows of the same held-out genes.
Only `codon_usage` is of training genes. A protein alone is a window too, and `single_protein` shows proteins from their
start: the first residue of `protein_alone` tells a model to expect M, and costs the more the surer it is of that.

Introns are those of C. elegans: with a context of 256, six thousand windows of held-out yeast genes hold two introns
(most are longer than the context), a hundred of the worm's hold twenty.
"""

import ml_collections

from bsm_jax.tokenizer import Modality
from configs.data import small
from data_pipelines.row_sets import max_codons

# Name, NCBI taxonomy id, genetic code, and windows of each gene: M. mycoides has few held-out genes.
ORGANISMS = (("ecoli", 511145, 11, 1), ("yeast", 559292, 1, 1), ("mmycoides", 436113, 4, 3))
WORM = ("celegans", 6239, 1)
GENES = 96

_PROTEIN = {
    "protein_given_dna": {"modalities": ("dna", "protein")},
    "protein_given_wrong_dna": {"modalities": ("dna", "protein"), "wrong_partner": True},
    "protein_alone": {"modalities": ("protein",)},
}
_DNA = {
    "dna_given_protein": {"modalities": ("protein", "dna")},
    "dna_given_wrong_protein": {"modalities": ("protein", "dna"), "wrong_partner": True},
    "dna_alone": {"modalities": ("dna",)},
}


def row_sets(context: int) -> dict[str, dict]:
  """All diagnostic row sets for rows of so many tokens."""
  most = max_codons((Modality.DNA, Modality.PROTEIN), context)
  found = {}
  pairs = {"corpus": "refseq_pairs", "splits": ("valid",)}
  for organism, taxon, code, windows in ORGANISMS:
    name = f"diagnose_{organism}_code{code}"
    some = pairs | {"taxa": (taxon,), "windows_per_gene": windows, "max_documents": GENES}
    for label, codons in (("w3_8", (3, 8)), ("w10_30", (10, 30)), ("w10_60", (10, 60)), ("full", (most, most))):
      found |= _conditions(f"{name}_{label}", _PROTEIN, some | {"codons": codons})
    whole = some | {"windows_per_gene": 1, "max_documents": 0, "codons": (most, most)}
    found |= _conditions(f"{name}_whole", _PROTEIN, whole)
    found |= _conditions(f"{name}_w10_60", _DNA, some | {"codons": (10, 60)}, like=f"{name}_w10_60_protein_given_dna")
    found[f"{name}_train_codon_usage"] = some | {
        "splits": ("train",), "modalities": ("dna", "protein"), "codons": (most, most), "windows_per_gene": 1,
        "max_documents": 400,
    }
  organism, taxon, code = WORM
  name = f"diagnose_{organism}_code{code}"
  worm = pairs | {"taxa": (taxon,), "codons": (10, 60), "coverage": 4.0}
  genomic = f"{name}_introns_protein_given_dna"
  found[genomic] = worm | {"modalities": ("dna", "protein"), "dna": "genomic"}
  found |= _conditions(f"{name}_spliced", _PROTEIN, worm, like=genomic)
  return found


def _conditions(prefix: str, conditions: dict[str, dict], windows: dict, like: str = "") -> dict[str, dict]:
  """One row set for each condition, all with the windows of `like`, or of the first condition."""
  like = like or f"{prefix}_{next(iter(conditions))}"
  named = {f"{prefix}_{condition}": windows | fields for condition, fields in conditions.items()}
  return {name: fields if name == like else fields | {"like": like} for name, fields in named.items()}


def get_config() -> ml_collections.ConfigDict:
  config = small.get_config()
  config.row_sets = row_sets(config.context)
  return config
