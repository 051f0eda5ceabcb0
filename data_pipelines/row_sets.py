"""What a row set is: the entries of `config.row_sets`, checked."""

import dataclasses
from collections.abc import Mapping

from bsm_jax.tokenizer import Modality, TokenizerError
from data_pipelines.splits import SPLITS


@dataclasses.dataclass(frozen=True)
class RowSet:
  """What every row set says; the entries of `config.row_sets`.

  Attributes:
    corpus: whose documents.
    splits: which splits are written.
    taxa: keep documents of these NCBI taxonomy ids only; empty for all.
    max_documents: at most this many documents (genes, sequences) a split, chosen by the seed; 0 for all.
    seed: changes every random choice.
    like: name of another row set, whose random choices this one makes too; empty for its own. A control then differs
      from what it controls in nothing else.
  """

  corpus: str
  splits: tuple[str, ...] = SPLITS
  taxa: tuple[int, ...] = ()
  max_documents: int = 0
  seed: int = 0
  like: str = ""


@dataclasses.dataclass(frozen=True)
class PairRowSet(RowSet):
  """Rows of genes in two or three modalities.

  Attributes:
    modalities: these; empty for a random choice of two or more in random order for each document.
    order: of `modalities`: `given`, or `random` for each document.
    views: how often each gene is gone through.
    codons: (least, most) codons of a window, drawn anew for each; () for whole genes.
    length_distribution: `uniform` or `log_uniform` over `codons`.
    windows_per_gene: windows for each gene and view; 0 for as many as cover the gene `coverage` times on average.
    coverage: see `windows_per_gene`.
    dna: `spliced` (the CDS) or `genomic` (introns included; a whole gene then has its UTRs too).
    synthetic_rna: also show RNA that is only the CDS transcribed, where no transcript is annotated.
    long: what becomes of a whole gene that does not fit: `window` (as many codons as fit, in every modality) or
      `concatenate` (its tokens cut into pieces of the context's length).
    wrong_partner: a control, for validation: the nucleotides are a window of the same number of codons from another
      gene, while the protein stays. Needs `codons`.
  """

  modalities: tuple[str, ...] = ()
  order: str = "given"
  views: int = 1
  codons: tuple[int, ...] = ()
  length_distribution: str = "uniform"
  windows_per_gene: int = 0
  coverage: float = 1.0
  dna: str = "spliced"
  synthetic_rna: bool = True
  long: str = "window"
  wrong_partner: bool = False


@dataclasses.dataclass(frozen=True)
class SingleRowSet(RowSet):
  """Rows of single sequences.

  Attributes:
    modalities: keep documents of these only; empty for all.
    stride: letters from the start of a window to the start of the next; 0 for no overlap.
    strand: of genomic DNA: `random` (drawn for each window), `both` or `forward`.
    min_letters: shorter sequences are dropped.
  """

  modalities: tuple[str, ...] = ()
  stride: int = 0
  strand: str = "random"
  min_letters: int = 16


@dataclasses.dataclass(frozen=True)
class WebRowSet(RowSet):
  """Rows of web documents: all sequences of one in their order; a document that does not fit the context is cut between
  sequences, a sequence that does not fit alone is shown in windows."""


class RowSetError(ValueError):
  """A row set that contradicts itself or cannot fit its context."""


ROW_SETS = {
    "refseq_pairs": PairRowSet, "gene_related": PairRowSet, "single_modal": SingleRowSet, "web_interleaved": WebRowSet,
}
_CHOICES = {
    "length_distribution": ("uniform", "log_uniform"), "dna": ("spliced", "genomic"), "long": ("window", "concatenate"),
    "strand": ("random", "both", "forward"), "order": ("given", "random"),
}
MIN_CONTEXT = 32
_BASES_PER_CODON = {Modality.DNA: 3, Modality.RNA: 3, Modality.PROTEIN: 1}


def from_dict(fields: Mapping) -> RowSet:
  """A row set from its fields, as `dataclasses.asdict` and JSON give them."""
  values = {k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in fields.items()}
  return ROW_SETS[values["corpus"]](**values)


def parse_row_set(name: str, spec: Mapping, context: int) -> RowSet:
  """An entry of `config.row_sets` to its dataclass.

  Raises:
    RowSetError: naming the row set, the key, and what it may be.
  """
  kind = ROW_SETS.get(spec.get("corpus"))
  if kind is None:
    raise RowSetError(f"row set {name}: corpus must be one of {', '.join(ROW_SETS)}, not {spec.get('corpus')!r}")
  known = [f.name for f in dataclasses.fields(kind)]
  if unknown := sorted(set(spec) - set(known)):
    raise RowSetError(f"row set {name}: no such key: {', '.join(unknown)}; it may have {', '.join(known)}")
  row_set = from_dict(spec)
  if context < MIN_CONTEXT:
    raise RowSetError(f"row set {name}: a context of {context} tokens is too short: at least {MIN_CONTEXT}")
  for key, choices in _CHOICES.items():
    if getattr(row_set, key, choices[0]) not in choices:
      raise RowSetError(f"row set {name}: {key} must be one of {', '.join(choices)}, not {getattr(row_set, key)!r}")
  if bad := sorted(set(row_set.splits) - set(SPLITS)):
    raise RowSetError(f"row set {name}: splits are {', '.join(SPLITS)}, not {', '.join(bad)}")
  if isinstance(row_set, WebRowSet):
    return row_set
  try:
    modalities = [Modality.parse(m) for m in row_set.modalities]
  except TokenizerError as error:
    raise RowSetError(f"row set {name}: {error}") from None
  if len(set(modalities)) < len(modalities):
    raise RowSetError(f"row set {name}: modalities name one modality twice")
  if isinstance(row_set, PairRowSet):
    _check_pairs(name, row_set, context)
  return row_set


def _check_pairs(name: str, row_set: PairRowSet, context: int) -> None:
  if row_set.wrong_partner and (not row_set.codons or row_set.dna == "genomic" or "protein" not in row_set.modalities):
    raise RowSetError(f"row set {name}: wrong_partner needs codons, spliced DNA, and modalities that name protein")
  if not row_set.codons:
    return
  if len(row_set.codons) != 2 or not 1 <= row_set.codons[0] <= row_set.codons[1]:
    raise RowSetError(f"row set {name}: codons are (least, most), not {row_set.codons}")
  largest = tuple(Modality.parse(m) for m in row_set.modalities) or tuple(Modality)
  if row_set.codons[0] > (most := max_codons(largest, context)):
    raise RowSetError(
        f"row set {name}: windows of at least {row_set.codons[0]} codons in {len(largest)} modalities do not fit a"
        f" context of {context} tokens, which holds {most}: lower codons or raise context"
    )


def max_codons(modalities: tuple[Modality, ...], context: int) -> int:
  """How many codons fit a context in these modalities, with a stop codon behind them."""
  per_codon = sum(_BASES_PER_CODON[m] for m in modalities)
  stops = 3 * sum(m != Modality.PROTEIN for m in modalities)
  return (context - 2 * len(modalities) - 1 - stops) // per_codon  # <bos> <eos> and, for each, its tag and a <sep>
