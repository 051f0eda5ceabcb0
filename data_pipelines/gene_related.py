"""Gene Related Sequences: NCBI Gene's tables, joined to sequence records, to documents of coding genes.

A Gene page lists "Related Sequences": genomic, mRNA and protein records that are not RefSeq's. The same lists are the
rows of gene2accession whose status is `-`; the letters come from GenBank flat files and FASTA of nucleotides, proteins
and UniProtKB. Genomic records, often whole BACs or chromosomes, are cut to the coding sequence that carries the row's
protein, and nothing is taken that does not translate to it.

Three steps, each of tasks that know nothing of each other:

  select_rows   tables → chosen rows, each once          one task         `gene_rows`
  extract       a file of records → what it holds        one task a file  `gene_records`
  merge         rows + what was found → documents        one a bucket     this file, `gene_documents`

Every chosen row is used in a document or rejected with a reason.
"""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator, MutableMapping, Sequence

from data_pipelines import gene_rows, genes
from data_pipelines.gene_documents import GeneDocuments, GeneRow
from data_pipelines.gene_fragments import Fragment
from data_pipelines.gene_records import extract, read_fragments
from data_pipelines.genes import CodingGene, Reject

# Why a row of the tables is in no document, beside the reasons for which a coding sequence is left out.
REASONS: dict[str, str] = {
    "no_protein": "the row names no protein by which its nucleotides could be cut and verified",
    "missing_accession": "no record file holds the accession",
    "other_version": "the record files hold the accession in another version only",
    "no_feature": "the record annotates no coding sequence with the row's protein, and the row has no coordinates",
    "coordinates_off": "the row's coordinates do not hold the feature, or lie outside the record",
    "no_orf": "no reading frame of the unannotated nucleotides translates to the protein",
    "protein_differs": "the protein's own record is not what its coding sequence translates to",
    "no_nucleotides": "a protein alone, of a gene none of whose nucleotides could be used",
    "unmatched_protein": "a protein alone that none of the gene's nucleotides translate to, nor nearly",
    **genes.REASONS,
}
# Why a row of the tables was not chosen, beside its status; these are counted only.
NOT_SELECTED: dict[str, str] = {
    "taxon": "of another taxon",
    "withdrawn": "RefSeq has withdrawn the record (status SUPPRESSED)",
    "no_gene": "UniProtKB's entry stands for a RefSeq protein that is in none of the gene tables",
}


@dataclasses.dataclass(frozen=True)
class GeneRelatedConfig:
  """What is chosen, and how it is joined.

  Attributes:
    taxa: NCBI taxonomy ids; empty for all.
    statuses: of the rows: `-` for what is not RefSeq.
    headerless: tables cut out with `grep` may lack their header.
    min_identity: a protein alone joins nucleotides that translate to as many residues, this part of them identical.
    transl_tables: genetic codes by which unannotated nucleotides are read, tried in this order.
    memory_limit, threads: of DuckDB in `select_rows` and `extract`.
  """

  taxa: tuple[int, ...] = ()
  statuses: tuple[str, ...] = (gene_rows.NOT_REFSEQ,)
  headerless: bool = False
  min_identity: float = 0.9
  transl_tables: tuple[int, ...] = (1,)
  memory_limit: str = "1GB"
  threads: int = 2

  def __post_init__(self):
    if not 0 < self.min_identity <= 1:
      raise ValueError(f"min_identity must lie in (0, 1], not {self.min_identity}")


def merge(
    rows: str | os.PathLike,
    fragments: Sequence[str | os.PathLike],
    *,
    config: GeneRelatedConfig,
    bucket: int = 0,
    buckets: int = 1,
    counts: MutableMapping[str, int] | None = None,
) -> Iterator[CodingGene | Reject]:
  """Yields the documents and the rejected rows of a bucket, gene by gene; one gene is in memory at a time.

  Args:
    rows: the folder that `gene_rows.select_rows` filled.
    fragments: the folders that `gene_records.extract` filled, in any order.
    config: the same for all buckets.
    bucket, buckets: which part of the genes: number `bucket` of `buckets`, from 0.
    counts: to which is added, once the iterator is exhausted: `rows` = `rows_used` + `rows_rejected`; `documents`, and
      of these `documents_dna_rna_protein`, `…_dna_protein` and `…_rna_protein`; `incomplete_rna_<reason>` and
      `incomplete_genomic_<reason>`: rows that are used without these nucleotides.
  """
  counts = {} if counts is None else counts

  def count(name: str, number: int = 1) -> None:
    counts[name] = counts.get(name, 0) + number

  first, end, named = gene_rows.read_bucket(rows, bucket, buckets)
  joined = _join(named, read_fragments(fragments, first, end))
  for chosen in (list(group) for _, group in itertools.groupby(joined, key=lambda row: row.gene)):
    gene = GeneDocuments(chosen, min_identity=config.min_identity, transl_tables=config.transl_tables)
    if len(chosen) != len(gene.used) + len(gene.rejects):
      raise AssertionError(f"{chosen[0]}: {len(chosen)} rows, {len(gene.used)} used, {len(gene.rejects)} rejected")
    count("rows", len(chosen))
    count("rows_used", len(gene.used))
    count("rows_rejected", len(gene.rejects))
    count("documents", len(gene.documents))
    for role, reason in gene.incomplete:
      count(f"incomplete_{role}_{reason}")
    for document in gene.documents:
      count("documents_" + "_".join(_modalities(document)))
    yield from gene.documents
    for row in chosen:
      if row.row in gene.rejects:
        code, detail = gene.rejects[row.row]
        yield Reject(code, str(row), detail)


def _modalities(gene: CodingGene) -> list[str]:
  return ["dna"] * gene.genomic + ["rna"] * (gene.rna_source != "cds") + ["protein"]


def _join(named: Iterator[tuple], found: Iterator[Fragment]) -> Iterator[GeneRow]:
  """Rows with their fragments; both come in the order of the rows' numbers."""
  groups = itertools.groupby(found, key=lambda fragment: fragment.row)
  number, group = next(groups, (None, ()))
  for row, gene, taxon, *accessions in named:
    fragments: list[Fragment] = []
    if number == row:
      fragments = sorted(group)  # whatever the order of the files
      number, group = next(groups, (None, ()))
    names = {role: name for role, name in zip(("rna", "protein", "genomic"), accessions) if name}
    yield GeneRow(row, gene, taxon, names, fragments)


def read_gene_related(
    work: str | os.PathLike,
    *,
    tables: Sequence[str],
    records: Sequence[tuple[str, str]],
    collab: str | None = None,
    config: GeneRelatedConfig = GeneRelatedConfig(),
    counts: MutableMapping[str, int] | None = None,
    stats: dict | None = None,
) -> Iterator[CodingGene | Reject]:
  """All steps in one process.

  Args:
    work: an empty folder; some of its files are as large as what is used of `records`.
    tables, collab: as `gene_rows.select_rows`.
    records: (kind, path) of the record files, see `gene_records.extract`.
    config: see `GeneRelatedConfig`.
    counts: as `merge`.
    stats: filled with what `select_rows` returns, and under `files` with what `extract` returns for each file.

  Yields:
    Documents and rejected rows.

  Raises:
    InputError: as `gene_rows.select_rows` and `gene_records.extract`.
  """
  work = pathlib.Path(work)
  (rows := work / "rows").mkdir()
  shared = {"memory_limit": config.memory_limit, "threads": config.threads}
  selected = gene_rows.select_rows(
      rows, tables=tables, collab=collab, taxa=config.taxa, statuses=config.statuses, headerless=config.headerless,
      **shared,
  )
  folders, files = [], []
  for number, (kind, path) in enumerate(records):
    (folder := work / f"records-{number:05d}").mkdir()
    files.append({"kind": kind, "path": str(path)} | extract(folder, path=path, kind=kind, rows=str(rows), **shared))
    folders.append(str(folder))
  if stats is not None:
    stats |= selected | {"files": files}
  yield from merge(rows, folders, config=config, counts=counts)
