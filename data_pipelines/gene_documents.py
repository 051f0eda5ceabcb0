"""Gene Related Sequences, third step: the sequences found for one gene become documents.

Nucleotides with the same protein belong together: a genomic and an mRNA record make one document of three modalities,
what is left over documents of two. A protein that has no nucleotides of its own joins those that translate to it,
exactly or but for some residues; then codon k still stands beside residue k.
"""

import collections
import dataclasses
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines import genetic_code
from data_pipelines.gene_fragments import GENE, ISOFORM, LETTERS, TRANSLATION, Fragment, gene_of
from data_pipelines.genes import CodingGene, Reject
from data_pipelines.verify import verify

_NUCLEOTIDES = ("rna", "genomic")
# What is taken where several record files hold an accession: annotated before bare letters, any before none.
_BEST = {GENE: 0, LETTERS: 1, TRANSLATION: 2, "other_version": 9}
_ANY_RESIDUE = frozenset("XBZJ")


@dataclasses.dataclass(frozen=True)
class GeneRow:
  """A chosen row of the tables, with what the record files hold for it.

  Attributes:
    row: its number.
    gene, taxon: GeneID and NCBI taxonomy id.
    accessions: role (`rna`, `protein`, `genomic`) to accession and version, of those that the row names.
    fragments: sorted.
  """

  row: int
  gene: int
  taxon: int
  accessions: Mapping[str, str]
  fragments: Sequence[Fragment]

  def __str__(self) -> str:
    return " ".join([f"GeneID:{self.gene}", *self.accessions.values()])


@dataclasses.dataclass
class _Sequences:
  """One distinct document or part of one, and the rows that it comes from."""

  gene: CodingGene
  rows: set[int]


@dataclasses.dataclass(frozen=True)
class _Protein:
  letters: str
  source: str  # as in `CodingGene`
  name: str


class GeneDocuments:
  """What becomes of the rows of one gene.

  Args:
    rows: all of the gene's.
    min_identity: least identity of a protein to the translation that it joins; 1 for equality.
    transl_tables: the genetic codes by which unannotated nucleotides are read, in this order.

  Attributes:
    documents: in a fixed order.
    used: the rows in documents.
    rejects: row to (reason, detail); every row is either here or in `used`.
    incomplete: (role, reason) of nucleotides that a used row lacks.
  """

  def __init__(self, rows: Sequence[GeneRow], *, min_identity: float, transl_tables: Sequence[int]):
    self.rejects: dict[int, tuple[str, str]] = {}
    self.incomplete: list[tuple[str, str]] = []
    self._min_identity, self._transl_tables = min_identity, transl_tables
    # Protein to role to content to sequences: what is the same is there once.
    self._groups: dict[str, dict[str, dict[Hashable, _Sequences]]] = {}
    alone = []
    for row in rows:
      if "protein" not in row.accessions:
        self.rejects[row.row] = "no_protein", ""
      elif len(row.accessions) == 1:
        alone.append(row)
      else:
        self._add_nucleotides(row)
    sets = {protein: _documents(group) for protein, group in self._groups.items()}
    documents = [document for group in sets.values() for document in group]
    documents += self._add_proteins(alone, sets)
    documents.sort(key=lambda document: (min(document.rows), document.gene.protein_id, document.gene.transcript_id))
    self.documents = [document.gene for document in documents]
    self.used = {row for document in documents for row in document.rows}

  def _add_nucleotides(self, row: GeneRow) -> None:
    """Sorts the sequences of a row in, or rejects it."""
    protein, no_protein = _protein(row)
    problems = []
    found = False
    for role in _NUCLEOTIDES:
      if role in row.accessions:
        item = self._gene(row, role, protein, no_protein)
        if isinstance(item, Reject):
          problems.append((role, item))
          continue
        found = True
        content = (item.rna, item.rna_cds) if role == "rna" else (item.dna, item.cds_blocks)
        same = self._groups.setdefault(item.protein, {r: {} for r in _NUCLEOTIDES})[role]
        same.setdefault(content, _Sequences(item, set())).rows.add(row.row)
    if found:
      self.incomplete += [(role, problem.code) for role, problem in problems]
    else:
      # A record that is there says more than one that is not.
      _, problem = min(problems, key=lambda found: found[1].code == "missing_accession")
      self.rejects[row.row] = problem.code, problem.detail

  def _gene(
      self, row: GeneRow, role: str, protein: _Protein | None, no_protein: tuple[str, str]
  ) -> CodingGene | Reject:
    """The gene that one of the row's nucleotide accessions holds, with the row's names."""
    name = row.accessions[role]
    fragment = _best(row, role)
    if fragment is None:
      return Reject("missing_accession", name, name)
    if fragment.state == GENE:
      gene = gene_of(fragment)
      if protein and not _is_same_protein(gene.protein, protein.letters):
        return Reject("protein_differs", name, f"{protein.name} is not what {fragment.name} translates to")
      source = "record" if protein and protein.source == "record" and protein.letters == gene.protein else None
      gene = dataclasses.replace(gene, protein_source=source or gene.protein_source)
    elif fragment.state == LETTERS and protein is None:
      return Reject(no_protein[0], name, no_protein[1])
    elif fragment.state == LETTERS:
      found = open_reading_frame(fragment.content, protein.letters, self._transl_tables)
      if found is None:
        return Reject("no_orf", name, f"{fragment.name} has no frame that translates to {protein.name}")
      gene = _unannotated(fragment.content, found, protein, is_transcript=role == "rna")
      if isinstance(gene, Reject):
        return gene
    else:
      detail = fragment.content or f"{fragment.name} is there, {name} is not"
      return Reject(fragment.state, name, detail)
    return dataclasses.replace(
        gene, gene_id=f"GeneID:{row.gene}", taxon=row.taxon, protein_id=row.accessions["protein"],
        # Where the genome's record names no transcript, the record itself tells documents apart.
        transcript_id=name if role == "rna" else gene.transcript_id or name,
    )

  def _add_proteins(self, rows: Sequence[GeneRow], sets: Mapping[str, Sequence[_Sequences]]) -> list[_Sequences]:
    """Joins proteins to the documents whose nucleotides translate to them; returns the new documents of variants."""
    variants: dict[str, _Sequences] = {}
    translations = _Translations(sets)
    for row in rows:
      protein, problem = _protein(row)
      isoforms = [_Protein(f.content, "record", f.name) for f in row.fragments if f.state == ISOFORM]
      proteins = [protein] * (protein is not None) + isoforms
      if not proteins:
        self.rejects[row.row] = problem
        continue
      problems = [self._join(row, candidate, sets, translations, variants) for candidate in proteins]
      if all(problems):
        self.rejects[row.row] = problems[0]
    return list(variants.values())

  def _join(
      self, row: GeneRow, protein: _Protein, sets: Mapping[str, Sequence[_Sequences]], translations: "_Translations",
      variants: dict[str, _Sequences],
  ) -> tuple[str, str] | None:
    """Returns why a protein cannot be joined, None where it was."""
    if not sets:
      return "no_nucleotides", f"{protein.name}: no nucleotides of the gene could be used"
    if equal := sets.get(protein.letters):
      for document in equal:
        document.rows.add(row.row)
      return None
    identity, other = translations.nearest(protein.letters)
    if other is None:
      lengths = ", ".join(map(str, sorted({len(other) for other in sets})[:5]))
      return "unmatched_protein", f"{protein.name}: {len(protein.letters)} residues, the translations have {lengths}"
    if identity < self._min_identity:
      return "unmatched_protein", f"{protein.name}: at most {identity:.0%} identical"
    nucleotides = sets[other][0].gene
    gene = dataclasses.replace(
        nucleotides, protein=protein.letters, protein_id=protein.name, protein_source=protein.source
    )
    variants.setdefault(protein.letters, _Sequences(gene, set())).rows.add(row.row)
    return None


# --- What a row has ---


def _best(row: GeneRow, role: str) -> Fragment | None:
  """The best that the record files hold for an accession; the same whatever their order."""
  fragments = [f for f in row.fragments if f.role == role and f.state != ISOFORM]
  return min(fragments, key=lambda f: (_BEST.get(f.state, 5), f), default=None)


def _protein(row: GeneRow) -> tuple[_Protein | None, tuple[str, str]]:
  """The row's protein: its own record, else a /translation; or why there is none."""
  name = row.accessions["protein"]
  fragment = _best(row, "protein")
  if fragment is None:
    return None, ("missing_accession", name)
  if fragment.state == "other_version":
    return None, ("other_version", f"{fragment.name} is there, {name} is not")
  source = "record" if fragment.state == LETTERS else "qualifier"
  return _Protein(fragment.content, source, fragment.name), ("", "")


def _is_same_protein(one: str, other: str) -> bool:
  """Whether two proteins are equal but for residues that either leaves open."""
  return one == other or len(one) == len(other) and all(
      a == b or a in _ANY_RESIDUE or b in _ANY_RESIDUE for a, b in zip(one, other)
  )


class _Translations:
  """A gene's translations, to be compared with proteins of their length."""

  def __init__(self, proteins: Iterable[str]):
    self._proteins: dict[int, list[str]] = {}
    for protein in proteins:
      self._proteins.setdefault(len(protein), []).append(protein)
    # uint8 [translations of the length, length]
    self._letters = {n: np.stack([_letters(p) for p in group]) for n, group in self._proteins.items()}

  def nearest(self, protein: str) -> tuple[float, str | None]:
    """Identical residues as a fraction of all, and the first translation that has most; None: no such length."""
    if len(protein) not in self._proteins:
      return 0.0, None
    identities = (self._letters[len(protein)] == _letters(protein)).mean(axis=1)
    best = int(identities.argmax())
    return float(identities[best]), self._proteins[len(protein)][best]


def _letters(protein: str) -> np.ndarray:
  return np.frombuffer(protein.encode("latin-1", "replace"), np.uint8)


# --- Unannotated nucleotides ---


class ReadingFrame(NamedTuple):
  """Where a protein lies in nucleotides: their letters [start, end), with the stop codon where it is there."""

  start: int
  end: int
  transl_table: int
  has_stop: bool


def open_reading_frame(letters: str, protein: str, transl_tables: Iterable[int]) -> ReadingFrame | None:
  """The frame of nucleotides that translates to exactly this protein, on the strand given; None where none does.

  It begins with the protein's M, at a codon that its genetic code lets start, or, for another residue, with the
  letters. It ends with a stop codon or with the letters.

  Args:
    letters: nucleotides, upper case.
    protein: residues without the stop, at least two.
    transl_tables: genetic codes, tried in this order.
  """
  if len(protein) < 2 or "*" in protein:
    return None
  for table in transl_tables:
    for frame in range(3):
      translation = genetic_code.translate(letters[frame:], table)
      # A start codon may give another residue elsewhere: the first one is looked at by itself.
      at = translation.find(protein[1:], 1) - 1
      while at >= 0:
        start, end = frame + 3 * at, frame + 3 * (at + len(protein))
        has_stop = genetic_code.is_stop(letters[end : end + 3], table)
        if protein[0] == "M":
          begins = genetic_code.is_start(letters[start : start + 3], table)
        else:
          begins = at == 0 and translation[0] == protein[0]
        if begins and (has_stop or end + 3 > len(letters)):
          return ReadingFrame(start, end + 3 * has_stop, table, has_stop)
        at = translation.find(protein[1:], at + 2) - 1
  return None


def _unannotated(letters: str, frame: ReadingFrame, protein: _Protein, *, is_transcript: bool) -> CodingGene | Reject:
  """The gene of nucleotides whose reading frame was found by its protein."""
  start, end = frame.start, frame.end
  dna, blocks = (letters, [(start, end)]) if is_transcript else (letters[start:end], [(0, end - start)])
  return verify(
      record=protein.name, gene_id="", transcript_id="", protein_id=protein.name, taxon=0, dna=dna, cds_blocks=blocks,
      exon_blocks=[(0, len(dna))] if is_transcript else None, codon_start=1, rna=letters if is_transcript else None,
      protein=protein.letters, protein_source=protein.source, transl_table=frame.transl_table,
      partial5=not protein.letters.startswith("M"), partial3=not frame.has_stop, selected=False,
      genomic=not is_transcript,
  )


# --- Documents ---


def _documents(group: Mapping[str, Mapping[Hashable, _Sequences]]) -> list[_Sequences]:
  """The sequences with one protein as documents: each nucleotide sequence is in one of them."""
  genomic, transcripts = (_in_order(group[role].values()) for role in ("genomic", "rna"))
  partners = _pair(genomic, transcripts)
  paired = set(partners.values())
  return [
      *(_joined(genomic[i], transcripts[j]) for i, j in sorted(partners.items())),
      *(part for i, part in enumerate(genomic) if i not in partners),
      *(part for j, part in enumerate(transcripts) if j not in paired),
  ]


def _in_order(parts: Iterable[_Sequences]) -> list[_Sequences]:
  return sorted(parts, key=lambda part: (min(part.rows), part.gene.dna, part.gene.rna))


def _pair(genomic: Sequence[_Sequences], transcripts: Sequence[_Sequences]) -> dict[int, int]:
  """Index of a genomic sequence to its transcript's.

  First those that stand in one row, then those whose coding letters are equal, then any that are as long: where the
  codons are as many, each stands beside its residue in both.
  """
  keys: list[Callable[[_Sequences], Iterable[Hashable]]] = [
      lambda part: sorted(part.rows), lambda part: [part.gene.cds], lambda part: [len(part.gene.cds)]
  ]
  partners: dict[int, int] = {}
  for of in keys:
    paired = set(partners.values())
    waiting: dict[Hashable, collections.deque[int]] = {}
    for j, part in enumerate(transcripts):
      if j not in paired:
        for key in of(part):
          waiting.setdefault(key, collections.deque()).append(j)
    for i, part in enumerate(genomic):
      if i in partners:
        continue
      for key in of(part):
        candidates = waiting.get(key, ())
        while candidates and candidates[0] in paired:
          candidates.popleft()
        if candidates and len(transcripts[candidates[0]].gene.cds) == len(part.gene.cds):
          partners[i] = candidates.popleft()
          paired.add(partners[i])
          break
  return partners


def _joined(genomic: _Sequences, transcript: _Sequences) -> _Sequences:
  """The DNA of one with the RNA of the other."""
  gene, rna = genomic.gene, transcript.gene
  source = "record" if "record" in (gene.protein_source, rna.protein_source) else gene.protein_source
  return _Sequences(
      dataclasses.replace(
          gene, transcript_id=rna.transcript_id, protein_id=rna.protein_id, protein_source=source, rna=rna.rna,
          rna_cds=rna.rna_cds, rna_source=rna.rna_source,
      ),
      genomic.rows | transcript.rows,
  )
