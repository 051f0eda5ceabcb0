"""Gene Related Sequences: what one sequence record holds for the rows that name it."""

import dataclasses
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from data_pipelines import genes
from data_pipelines.errors import InputError
from data_pipelines.formats import fasta, genbank, headers
from data_pipelines.formats.location import parse_location

# States of a fragment; all others are reasons, of `gene_related.REASONS`.
GENE = "gene"  # a verified `CodingGene`
LETTERS = "letters"  # a sequence without annotation
TRANSLATION = "translation"  # a protein as the /translation of a coding sequence
ISOFORM = "isoform"  # another protein of the UniProtKB entry that the row names


class Fragment(NamedTuple):
  """What a record holds for a row.

  Attributes:
    row: the row's number.
    role: which of the row's accessions this is: `rna`, `protein` or `genomic`.
    state: see the constants above.
    name: accession and version of the record that was found.
    content: letters, a `CodingGene` as JSON, or what was found, for a reason.
  """

  row: int
  role: str
  state: str
  name: str
  content: str


class Hit(NamedTuple):
  """An accession of a row that a record bears, perhaps in another version."""

  ordinal: int
  name: str
  found: str
  version: str
  role: str
  row: int
  protein: str
  start: int | None
  end: int | None
  orientation: str

  @property
  def is_other_version(self) -> bool:
    # Rows without a version (UniProtKB's collaboration table, patents) take any.
    return self.version not in ("", self.found)

  def fragment(self, state: str, content: str) -> Fragment:
    return Fragment(self.row, self.role, state, self.name, content)


# --- FASTA ---

_NOT_NUCLEOTIDES = re.compile(r"[^ACGTURYSWKMBDHVN]")


class FastaRecord:
  """A record of a FASTA file of nucleotides or proteins."""

  def __init__(self, path: str, record: fasta.FastaRecord, is_protein: bool):
    self._path, self._record, self._is_protein = path, record, is_protein

  def names(self) -> list[tuple[bool, str, str, str]]:
    """Whether it is a protein's, accession, version, and both, of its one name; the entry's for an isoform."""
    base, _, version = headers.accession(self._record.name).partition(".")
    if self._record.name.startswith(("sp|", "tr|")):
      if not version and (match := re.search(r"(?:^|\s)SV=(\d+)", self._record.description)):
        version = match[1]
      name = f"{base}.{version}" if version else base
      return [(self._is_protein, base.partition("-")[0], version, name)]
    return [(self._is_protein, base, version, f"{base}.{version}" if version else base)]

  def fragments(self, hits: Sequence[Hit]) -> Iterator[Fragment]:
    for hit in hits:
      if self._is_protein and "-" in hit.name:
        yield hit.fragment(ISOFORM, self._record.sequence.rstrip("*"))  # UniProtKB's isoforms have no version.
      elif hit.is_other_version:
        yield hit.fragment("other_version", "")
      elif self._is_protein:
        yield hit.fragment(LETTERS, self._record.sequence.rstrip("*"))
      else:
        yield _stretch(hit, self._nucleotides, circular=False)

  @functools.cached_property
  def _nucleotides(self) -> str:
    if strange := _NOT_NUCLEOTIDES.search(self._record.sequence):
      problem = f"{strange[0]!r} in the sequence is no nucleotide"
      remedy = "Give proteins as proteins, and check that the file is sound."
      raise InputError(self._path, problem, remedy, record=self._record.name)
    return self._record.sequence.replace("U", "T")


def _stretch(hit: Hit, sequence: str, *, circular: bool) -> Fragment:
  """An unannotated record as far as it belongs to the row: a transcript whole, else between the row's coordinates."""
  if not sequence:
    return hit.fragment("missing_contig", f"record {hit.name} holds no sequence")
  if hit.role == "rna":
    return hit.fragment(LETTERS, sequence)
  if hit.start is None or hit.end is None or hit.orientation == "?":
    return hit.fragment("no_feature", f"{hit.name} does not annotate {hit.protein}, and the row has no coordinates")
  if 0 <= hit.start <= hit.end < len(sequence):
    letters = sequence[hit.start : hit.end + 1]
  elif circular and 0 <= hit.end < hit.start < len(sequence):
    letters = sequence[hit.start :] + sequence[: hit.end + 1]
  else:
    detail = f"bases {hit.start + 1} to {hit.end + 1} of {hit.name}, which holds {len(sequence)}"
    return hit.fragment("coordinates_off", detail)
  return hit.fragment(LETTERS, genes.reverse_complement(letters) if hit.orientation == "-" else letters)


# --- GenBank ---

class GenBankRecord:
  """A record of a GenBank flat file."""

  def __init__(self, record: genbank.Record):
    self._record = record

  @functools.cached_property
  def _proteins(self) -> dict[str, list[genbank.Feature]]:
    """Accession without version to the coding sequences of the protein."""
    proteins: dict[str, list[genbank.Feature]] = {}
    for feature in self._record.features:
      if feature.key == "CDS" and (protein_id := feature.first("protein_id")):
        proteins.setdefault(_split(protein_id)[0], []).append(feature)
    return proteins

  def names(self) -> list[tuple[bool, str, str, str]]:
    """Whether it is a protein's, accession, version, and both, of the record and of the proteins it annotates."""
    names = [(False, self._record.name)]
    names += [(True, feature.first("protein_id")) for features in self._proteins.values() for feature in features]
    return [(is_protein, *_split(name), name) for is_protein, name in names]

  def fragments(self, hits: Sequence[Hit]) -> Iterator[Fragment]:
    record = self._record
    # The row's RNA is a transcript, whatever the record calls its molecule.
    cutters = {"rna": _Cutter(dataclasses.replace(record, moltype="mRNA")), "genomic": _Cutter(record)}
    for hit in hits:
      if hit.is_other_version:
        yield hit.fragment("other_version", "")
      elif hit.role == "protein":
        for feature in self._proteins[_split(hit.name)[0]]:
          if feature.first("protein_id") == hit.name and (translation := cutters["genomic"].protein(feature)):
            yield hit.fragment(TRANSLATION, translation)
            break
      elif features := self._proteins.get(_split(hit.protein)[0]):
        yield cutters[hit.role].fragment(hit, features)
      else:
        yield _stretch(hit, record.sequence, circular=record.circular)


class _Cutter:
  """Cuts coding genes out of a record."""

  def __init__(self, record: genbank.Record):
    self._record = record
    self._transcripts = genbank.Transcripts(record)
    self._items: dict[str, genes.CodingGene | genes.Reject] = {}  # Several rows may name one feature.

  def _item(self, feature: genbank.Feature) -> genes.CodingGene | genes.Reject:
    key = f"{feature.location} {feature.first('protein_id')}"
    if key not in self._items:
      self._items[key] = genbank.coding_gene(self._record, feature, self._transcripts, 0, False)
    return self._items[key]

  def protein(self, feature: genbank.Feature) -> str:
    """The annotated residues, else the translation; "" where there are none."""
    if translation := feature.first("translation"):
      return translation.rstrip("*")
    item = self._item(feature)
    return item.protein if isinstance(item, genes.CodingGene) else ""

  def fragment(self, hit: Hit, features: Sequence[genbank.Feature]) -> Fragment:
    """The gene that carries the row's protein, or why there is none."""
    version = _split(hit.protein)[1]
    exact = [feature for feature in features if version in ("", _split(feature.first("protein_id"))[1])]
    if not exact:
      others = ", ".join(sorted({feature.first("protein_id") for feature in features}))
      return hit.fragment("other_version", f"{hit.name} annotates {others}")
    items = [self._item(feature) for feature in exact if hit.role == "rna" or self._is_at(feature, hit)]
    if not items:
      detail = f"{hit.protein} at {exact[0].location[:80]} of {hit.name}, the row says {hit.start + 1}..{hit.end + 1}"
      return hit.fragment("coordinates_off", f"{detail} ({hit.orientation})")
    item = next((item for item in items if isinstance(item, genes.CodingGene)), items[0])
    if isinstance(item, genes.Reject):
      return hit.fragment(item.code, item.detail)
    return hit.fragment(GENE, json.dumps(vars(item)))

  def _is_at(self, feature: genbank.Feature, hit: Hit) -> bool:
    """Whether a feature overlaps the row's coordinates on their strand: copies of a gene carry one protein.

    True where the row has no coordinates, or the location names no stretch: the gene's own reason says more.
    """
    if hit.start is None or hit.end is None:
      return True
    try:
      parts = parse_location(feature.location, self._record.circular_length).parts
    except genes.LocationError:
      return True
    strands = {"+": (1,), "-": (-1,)}.get(hit.orientation, (1, -1))
    # A gene over the origin of a circular molecule begins at the higher coordinate.
    spans = [(hit.start, hit.end)] if hit.start <= hit.end else [(hit.start, len(self._record.sequence)), (0, hit.end)]
    return any(strand in strands and start <= b and a < end for start, end, strand in parts for a, b in spans)


def _split(name: str) -> tuple[str, str]:
  """Accession and version, "" where there is none."""
  base, _, version = name.partition(".")
  return base, version


def gene_of(fragment: Fragment) -> genes.CodingGene:
  """The gene of a fragment in the state `GENE`."""
  values: Mapping[str, Any] = json.loads(fragment.content)
  blocks = tuple((start, end) for start, end in values["cds_blocks"])
  rna_cds = tuple(values["rna_cds"]) if values["rna_cds"] else None
  return genes.CodingGene(**{**values, "cds_blocks": blocks, "rna_cds": rna_cds})
