"""The first stage of a build: sources to documents, one TFDS dataset for each corpus, with one assignment of splits."""

import contextlib
import dataclasses
import functools
import io
import pathlib
import re
from collections.abc import Sequence

import tqdm

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import corpora, refseq_pairs, single_modal
from data_pipelines import sources as sources_lib
from data_pipelines.errors import InputError
from data_pipelines.genes import GenomeSequence, Reject
from data_pipelines.report import Tally
from data_pipelines.splits import SPLITS, HeldOutIndex, ProteinSplits, SplitConfig, digest

CORPORA = {"refseq_pairs": refseq_pairs.RefseqPairs, "single_modal": single_modal.SingleModal}
# Why a record that could be read is in no document, beside the readers' `genes.REASONS`.
REASONS = {
    "duplicate": "the same sequences are there already",
    "heldout_overlap": "its nucleotides hold part of a gene of another held-out split",
    "not_selected_transcript": "another transcript of the gene was chosen",
    "too_short": "fewer letters than config.documents.min_letters",
    "valid_and_test": "holds parts of genes of both held-out splits",
}
_ONLY_BASES = re.compile(r"[ACGTUN]{100,}")


@dataclasses.dataclass(frozen=True)
class DocumentsConfig:
  """What becomes a document.

  Attributes:
    transcripts: `one` a gene (MANE or RefSeq Select, else the longest CDS) or `all`.
    strict: a letter outside the alphabet is an error; otherwise it becomes `<unk>` and is counted.
    min_letters: shorter stretches of single sequences are dropped.
    splits: how splits are assigned.
  """

  transcripts: str = "one"
  strict: bool = True
  min_letters: int = 20
  splits: SplitConfig = SplitConfig()

  def __post_init__(self):
    if self.transcripts not in ("one", "all"):
      raise ValueError(f"transcripts must be one or all, not {self.transcripts!r}")


class Gathered:
  """Everything that one pass over the sources finds, and what was rejected on the way."""

  def __init__(self, work: pathlib.Path, config: DocumentsConfig):
    self.config = config
    self.genes = corpora.Spool(work / "genes.spool")
    self.records = corpora.Spool(work / "records.spool")
    self.kept: list[int] = []
    self.proteins: dict[int, bytes] = {}
    self.pinned: dict[int, bytes] = {}
    self.gene_count = self.record_count = 0
    self.gene_rejects, self.record_rejects = Tally(), Tally()
    self.replaced: dict[str, int] = {}
    self._seen: set[tuple[Modality, int]] = set()
    self._seen_genes: set[int] = set()

  def close(self) -> None:
    self.genes.close()
    self.records.close()

  def read(self, source: sources_lib.Source, progress: tqdm.tqdm) -> None:
    """Reads one source to its end."""
    choice = refseq_pairs.TranscriptChoice()
    losers: set[int] = set()
    contents: list[int] = []
    verified: dict[int, bytes] = {}
    first, taxon = len(self.genes), source.taxon or 0
    file = source.files.get("fasta") or source.files["path"]
    for item in source.genes():
      progress.update()
      self.gene_count += 1
      if isinstance(item, Reject):
        self.gene_rejects.add(item.code, f"{source.name}: {item.record}: {item.detail}".removesuffix(": "))
        continue
      try:
        gene = refseq_pairs.example(item, source.name, strict=self.config.strict, counts=self.replaced)
      except tokenizer.TokenizerError as error:
        raise self._letter_error(file, item.gene_id, error) from error
      index = self.genes.append(gene)
      contents.append(digest(refseq_pairs.content(gene)))
      if self.config.transcripts == "one" and (loser := choice.offer(index, source.name, item)) is not None:
        losers.add(loser)
      protein = gene["protein"].tobytes()
      verified[digest(protein)] = protein
      taxon = taxon or gene["taxon"]
    for index, content in enumerate(contents, first):
      if index in losers:
        self.gene_rejects.add("not_selected_transcript", self.genes[index]["id"])
      elif content in self._seen_genes:
        self.gene_rejects.add("duplicate", self.genes[index]["id"])
      else:
        self._seen_genes.add(content)
        self.kept.append(index)
    self.proteins |= verified
    with_genome = source.kind != "fasta"
    for path, modality, sequence in source.sequences():
      progress.update()
      record = self._add_record(path, modality, sequence, source.name, sequence.taxon or taxon)
      # The gene of a protein that did not verify cannot be found in the genome: it stays in train with its relatives.
      if record is not None and modality == Modality.PROTEIN and with_genome:
        if (key := digest(record.letters)) not in verified:
          self.pinned[key] = record.letters.tobytes()
    if not source.has_proteins:
      for protein_index in range(first, len(self.genes)):
        gene = self.genes[protein_index]
        self._add(single_modal.Record(gene["id"], gene["taxon"], Modality.PROTEIN, gene["protein"]))

  def _add_record(
      self, path: str, modality: Modality, sequence: GenomeSequence, source: str, taxon: int
  ) -> single_modal.Record | None:
    if modality == Modality.PROTEIN and self.config.strict and _ONLY_BASES.fullmatch(sequence.sequence):
      problem = "given as protein, but its letters are those of nucleotides only"
      raise InputError(path, problem, "Give the file as dna or rna.", record=sequence.name)
    try:
      letters = tokenizer.encode(sequence.sequence, modality, strict=self.config.strict, counts=self.replaced)
    except tokenizer.TokenizerError as error:
      raise self._letter_error(path, sequence.name, error) from error
    return self._add(single_modal.Record(f"{source}|{sequence.name}", taxon, modality, letters, sequence.circular))

  def _add(self, record: single_modal.Record) -> single_modal.Record | None:
    """Spools a record unless the same sequence is there already; returns it where it was spooled."""
    self.record_count += 1
    if (key := (record.modality, digest(record.letters))) in self._seen:
      self.record_rejects.add("duplicate", record.id)
      return None
    self._seen.add(key)
    self.records.append(record)
    if record.modality == Modality.PROTEIN:
      self.proteins[key[1]] = record.letters.tobytes()
    return record

  def _letter_error(self, path: str, record: str, error: tokenizer.TokenizerError) -> InputError:
    problem = str(error).partition(". ")[0].removeprefix(f"{record}: ")
    remedy = "Check what the file holds; --config.documents.strict=False writes <unk> for such letters and counts them."
    return InputError(path, problem, remedy, record=record)


def build(
    sources: Sequence[sources_lib.Source], config: DocumentsConfig, work: pathlib.Path, wanted: Sequence[str],
    made_from: dict,
) -> pathlib.Path:
  """Makes the TFDS datasets of the corpora `wanted`, and `splits.npz`, under `work / "documents"`.

  Args:
    sources: what to read.
    config: see `DocumentsConfig`.
    work: a temporary folder; nothing outside it is written.
    wanted: names in `CORPORA`.
    made_from: what identifies config and sources, stored in each dataset's metadata.

  Returns:
    The folder; the caller moves its content into place.
  """
  out = work / "documents"
  out.mkdir()
  with contextlib.closing(Gathered(work, config)) as gathered:
    with tqdm.tqdm(unit=" records", desc="reading", disable=None) as progress:
      for source in sources:
        progress.set_postfix_str(source.name)
        gathered.read(source, progress)
    print(f"clustering {len(gathered.proteins):,} proteins", flush=True)
    splits = ProteinSplits.assign(gathered.proteins.values(), config.splits, gathered.pinned.values())
    splits.save(out / "splits.npz")
    held_out = HeldOutIndex(refseq_pairs.held_out_sequences(gathered.genes, splits), config.splits)
    print(f"held out: {len(held_out.kmers):,} 24-mers; assigning documents", flush=True)
    shared = {
        "made_from": made_from,
        "clusters": {s: len(set(splits.clusters[splits.splits == i].tolist())) for i, s in enumerate(SPLITS)},
        "pinned_proteins": len(gathered.pinned),
        "replaced_letters": gathered.replaced,
    }
    if "refseq_pairs" in wanted:
      _build_pairs(gathered, splits, held_out, out, shared)
    if "single_modal" in wanted:
      _build_single(gathered, splits, held_out, out, shared)
  return out


def _build_pairs(
    gathered: Gathered, splits: ProteinSplits, held_out: HeldOutIndex, out: pathlib.Path, shared: dict
) -> None:
  rejects = gathered.gene_rejects
  chosen = refseq_pairs.assign(gathered.genes, gathered.kept, splits, held_out, rejects)
  counts = _counts(gathered.gene_count, chosen, rejects)
  if gathered.gene_count != sum(map(len, chosen.values())) + rejects.total():
    raise AssertionError(f"{gathered.gene_count} genes were read, but documents and rejects are {counts}")
  documents = {s: functools.partial(map, gathered.genes.__getitem__, picked) for s, picked in chosen.items()}
  _write("refseq_pairs", out, documents, chosen, shared | counts)


def _build_single(
    gathered: Gathered, splits: ProteinSplits, held_out: HeldOutIndex, out: pathlib.Path, shared: dict
) -> None:
  rejects, dropped = gathered.record_rejects, Tally()
  chosen = single_modal.assign(gathered.records, splits, held_out, gathered.config.min_letters, dropped, rejects)
  used = len({index for pieces in chosen.values() for index, _, _ in pieces})
  counts = _counts(gathered.record_count, chosen, rejects)
  if gathered.record_count != used + rejects.total():
    raise AssertionError(f"{gathered.record_count} sequences were read and {used} are used, but rejects are {counts}")
  counts |= {"records_used": used, "dropped_stretches": dropped.as_dict()}
  documents = {s: functools.partial(single_modal.examples, gathered.records, p) for s, p in chosen.items()}
  _write("single_modal", out, documents, chosen, shared | counts)


def _counts(records: int, chosen: dict[str, list], rejects: Tally) -> dict:
  return {
      "records": records, "documents": {s: len(picked) for s, picked in chosen.items()}, "rejects": rejects.as_dict()
  }


def _write(name: str, out: pathlib.Path, documents: dict, chosen: dict[str, list], counts: dict) -> None:
  print(f"writing {sum(map(len, chosen.values())):,} documents of {name}", flush=True)
  filled = {s: make for s, make in documents.items() if chosen[s]}  # TFDS refuses a split without an example
  if not filled:
    reasons = ", ".join(f"{r} {c['count']:,}" for r, c in counts["rejects"].items()) or "the sources have none"
    raise InputError("config.sources", f"not one document for {name} ({reasons})", "Check the sources, or leave the"
                     f" row sets of {name} out of config.row_sets.")
  builder = CORPORA[name](data_dir=out, documents=filled, counts=counts)
  with contextlib.redirect_stdout(io.StringIO()):  # it announces downloads, of which there are none
    builder.download_and_prepare()
