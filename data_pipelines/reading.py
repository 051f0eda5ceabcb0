"""The reading stage: one file, or a part of one, to the items of a unit.

Records in = items + rejects, for every corpus.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import near_duplicates, refseq_pairs, single_modal, web_corpus, web_interleaved
from data_pipelines import sources as sources_lib
from data_pipelines.errors import InputError
from data_pipelines.genes import CodingGene, GenomeSequence, Reject
from data_pipelines.report import Tally
from data_pipelines.splits import digest
from data_pipelines.units import CORPORA, UnitWriter

_ONLY_BASES = re.compile(r"[ACGTUN]{100,}")


def read_unit(
    folder: pathlib.Path, *, source: Mapping, part: Mapping, options: Mapping, sha256: Sequence[str]
) -> dict:
  """The task that reads one unit.

  Args:
    folder: where to.
    source: `Source.as_dict()`.
    part: which part of its files, see `Source.parts`.
    options: `transcripts`, `strict`, `near_duplicates` and `web` of the documents' config.
    sha256: of the source's files: with other content this is another task.

  Returns:
    `records`: how many were read, and `rejects`, by corpus; `replaced`: letters, see `tokenizer.encode`; `keys`: how
    many keys of duplicates there are.
  """
  del sha256
  reader = _Reader(folder, sources_lib.Source.from_dict(source), part, options)
  reader.read()
  return {
      "keys": reader.writer.close(), "records": reader.records,
      "rejects": {c: t.as_dict() for c, t in reader.rejects.items() if t.total()}, "replaced": reader.replaced,
  }


class _Reader:

  def __init__(self, folder: pathlib.Path, source: sources_lib.Source, part: Mapping, options: Mapping):
    self.source, self.part = source, part
    self.strict, self.transcripts = options["strict"], options["transcripts"]
    near = options["near_duplicates"]
    self.near = near_duplicates.NearDuplicateConfig(**near) if near else None
    self.web = web_interleaved.WebConfig(**options["web"])
    self.writer = UnitWriter(folder)
    self.records = dict.fromkeys(CORPORA, 0)
    self.rejects = {c: Tally() for c in CORPORA}
    self.replaced: dict[str, int] = {}

  def read(self) -> None:
    if self.source.kind == "fineweb":
      self._documents()
      return
    taxon, verified = self._genes()
    self._sequences(taxon, verified)

  def _genes(self) -> tuple[int, list[tuple[str, int, np.ndarray]]]:
    """Adds the genes; returns the taxon and (id, taxon, protein) of each."""
    corpus = self.source.gene_corpus
    choice = refseq_pairs.TranscriptChoice()
    taxon = self.source.taxon or 0
    names: dict[int, str] = {}
    proteins: list[tuple[str, int, np.ndarray]] = []
    for item in self.source.genes(self.part):
      self.records[corpus] += 1
      if isinstance(item, Reject):
        self.rejects[corpus].add(item.code, f"{self.source.name}: {item.record}: {item.detail}".removesuffix(": "))
        continue
      gene = self._example(item)
      index = self.writer.append(
          corpus, gene, content=digest(refseq_pairs.content(gene)), protein=digest(gene["protein"]),
          letters=sum(len(gene[m]) for m in ("dna", "rna", "protein")), near=self._near(Modality.DNA, gene["dna"]),
      )
      names[index] = gene["id"]
      proteins.append((gene["id"], gene["taxon"], gene["protein"]))
      taxon = taxon or gene["taxon"]
      if self.transcripts == "one" and corpus == "refseq_pairs":
        if (loser := choice.offer(index, self.source.name, item)) is not None:
          self.writer.leave_out(loser)
          self.rejects[corpus].add("not_selected_transcript", names[loser])
    return taxon, proteins

  def _example(self, item: CodingGene) -> dict:
    try:
      return refseq_pairs.example(item, self.source.name, strict=self.strict, counts=self.replaced)
    except tokenizer.TokenizerError as error:
      file = self.source.files.get("fasta") or next(iter(self.source.files.values()))
      raise self._letter_error(file, item.gene_id, error) from error

  def _sequences(self, taxon: int, genes: list[tuple[str, int, np.ndarray]]) -> None:
    verified = {digest(protein) for _, _, protein in genes}
    annotated = self.source.kind not in sources_lib.WITHOUT_GENES
    for path, modality, sequence in self.source.sequences(self.part):
      letters = self._letters(path, modality, sequence)
      self._record(f"{self.source.name}|{sequence.name}", sequence.taxon or taxon, modality, letters, sequence.circular)
      # The gene of a protein that did not verify cannot be found in the genome: it stays in train with its relatives.
      if annotated and modality == Modality.PROTEIN and (key := digest(letters)) not in verified:
        self.writer.pinned.append(key)
    if self.source.gene_corpus == "refseq_pairs" and not self.source.has_proteins:
      for name, gene_taxon, protein in genes:
        self._record(name, gene_taxon, Modality.PROTEIN, protein)

  def _letters(self, path: str, modality: Modality, sequence: GenomeSequence) -> np.ndarray:
    if modality == Modality.PROTEIN and self.strict and _ONLY_BASES.fullmatch(sequence.sequence):
      problem = "given as protein, but its letters are those of nucleotides only"
      raise InputError(path, problem, "Give the file as dna or rna.", record=sequence.name)
    try:
      return tokenizer.encode(sequence.sequence, modality, strict=self.strict, counts=self.replaced)
    except tokenizer.TokenizerError as error:
      raise self._letter_error(path, sequence.name, error) from error

  def _record(self, name: str, taxon: int, modality: Modality, letters: np.ndarray, circular: bool = False) -> None:
    self.records["single_modal"] += 1
    self.writer.append(
        "single_modal", single_modal.record(name, taxon, modality, letters, circular),
        content=digest(bytes([modality]) + letters.tobytes()),
        protein=digest(letters) if modality == Modality.PROTEIN else 0, letters=len(letters),
        near=self._near(modality, letters),
    )

  def _near(self, modality: Modality, letters: np.ndarray) -> Sequence[int]:
    return () if self.near is None else near_duplicates.keys(letters, modality, self.near).tolist()

  def _documents(self) -> None:
    for document in self.source.documents(self.part):
      self.records["web_interleaved"] += 1
      found = document if isinstance(document, Reject) else web_interleaved.document(document, self.web)
      if isinstance(found, Reject):
        self.rejects["web_interleaved"].add(found.code, f"{found.record}: {found.detail}".removesuffix(": "))
        continue
      item = web_corpus.example(found, counts=self.replaced)
      self.writer.append(
          "web_interleaved", item, content=digest(item["modalities"].tobytes() + item["letters"].tobytes()),
          letters=len(item["letters"]),
      )

  def _letter_error(self, path: str, record: str, error: tokenizer.TokenizerError) -> InputError:
    problem = str(error).partition(". ")[0].removeprefix(f"{record}: ")
    remedy = "Check what the file holds; --config.documents.strict=False writes <unk> for such letters and counts them."
    return InputError(path, problem, remedy, record=record)
