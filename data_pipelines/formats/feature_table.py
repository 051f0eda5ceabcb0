"""NCBI's feature table with its FASTA files: gene, transcript and protein without GFF3.

The layout is that of `*_feature_table.txt` in https://ftp.ncbi.nlm.nih.gov/genomes/all/README.txt: 20 columns between
tabs. It gives each feature's outer ends and total length, but not its exons, codon_start or genetic code.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from data_pipelines import genetic_code
from data_pipelines.errors import InputError
from data_pipelines.formats import compressed, fasta
from data_pipelines.formats.location import Location, parse_location
from data_pipelines.genes import CodingGene, LocationError, Part, Reject, coding_strand
from data_pipelines.verify import verify

# The columns that are read; files are told apart by these names, not by their order.
_COLUMNS = (
    "feature", "class", "genomic_accession", "start", "end", "strand", "product_accession", "related_accession",
    "symbol", "GeneID", "locus_tag", "feature_interval_length", "attributes",
)  # fmt: skip
_NUMBER = re.compile(r"[0-9]{1,18}")
_READ_THROUGH = str.maketrans("UO", "**")  # What the codons of selenocysteine and pyrrolysine are otherwise.


class _Row(NamedTuple):
  """A feature; `start` and `end` count from 1, and over the origin of a circular molecule `start` is the greater."""

  feature: str
  feature_class: str
  contig: str
  start: int
  end: int
  strand: int
  product: str
  related: str
  symbol: str
  gene_id: str
  locus_tag: str
  bases: int
  attributes: frozenset[str]

  @property
  def name(self) -> str:
    """What a `Reject` calls it."""
    return self.product or self.locus_tag or f"{self.contig}:{self.start}..{self.end}"

  def part(self, length: int) -> Part:
    """The outer ends in a sequence of `length` bases, 0-based half-open."""
    return self.start - 1, self.end + (length if self.start > self.end else 0), self.strand

  def is_contiguous(self, length: int) -> bool:
    """Whether the feature has neither introns nor slips of the ribosome."""
    start, end, _ = self.part(length)
    return self.bases == end - start


def _read_rows(path: str | os.PathLike) -> Iterator[_Row]:
  """The CDS and mRNA rows."""
  with compressed.open_text(path) as lines:
    header = next(lines, "").rstrip("\r\n").removeprefix("#").strip().split("\t")
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
      remedy = "Give NCBI's *_feature_table.txt, with its header line '# feature<tab>class<tab>…'."
      raise InputError(path, f"the header lacks the columns {', '.join(missing)}", remedy, record="line 1")
    order = [header.index(name) for name in _COLUMNS]
    for number, line in enumerate(lines, 2):
      values = line.rstrip("\r\n").split("\t")
      if len(values) != len(header):
        problem = f"{len(values)} columns between tabs, the header has {len(header)}"
        raise InputError(path, problem, "The file is damaged: download it again.", record=f"line {number}")
      if values[order[0]] not in ("CDS", "mRNA"):
        continue
      feature, feature_class, contig, start, end, strand, *names, bases, attributes = [values[i] for i in order]
      if not (all(map(_NUMBER.fullmatch, (start, end, bases))) and int(start) and int(end)):
        problem = f"start {start!r}, end {end!r} and feature_interval_length {bases!r} are not three numbers"
        raise InputError(path, problem, "The file is damaged: download it again.", record=f"line {number}")
      yield _Row(
          feature, feature_class, contig, int(start), int(end), {"+": 1, "-": -1}.get(strand, 0), *names, int(bases),
          frozenset(attribute.strip() for attribute in attributes.split(";")),
      )  # fmt: skip


def read_feature_table(
    table: str | os.PathLike,
    *,
    genome: str | os.PathLike,
    protein: str | os.PathLike,
    rna: str | os.PathLike | None = None,
    cds: str | os.PathLike | None = None,
    transl_table: int = 1,
    taxon: int = 0,
) -> Iterator[CodingGene | Reject]:
  """Yields one item for each CDS row.

  The table does not say where introns are. With `cds` that is known; without, a CDS with introns is found in its
  transcript, as the frame that translates to the protein. Its `dna` then is that stretch of the transcript's record,
  which may differ from the genome (RNA editing, polymorphisms), and `CodingGene.genomic` is False: read the GFF3 of the
  same assembly for genes with their introns. The DNA of all others is cut from the genome, from the first to the last
  base of the transcript (of the CDS where none is annotated, as in prokaryotes).

  Args:
    table: `*_feature_table.txt`, plain or gzip.
    genome: `*_genomic.fna`.
    protein: `*_protein.faa`; a record serves every CDS with that product (WP_ accessions).
    rna: `*_rna.fna`; None: transcripts without introns are cut from the genome, others are the CDS.
    cds: `*_cds_from_genomic.fna`, for the locations in its headers.
    transl_table: genetic code of all rows; organelles that use another one end up as rejects.
    taxon: NCBI taxonomy id, which the table does not hold.

  Raises:
    InputError: a file is missing or damaged; the table has not the columns, or no CDS; a contig is not in `genome`; not
      one transcript or protein is found.
  """
  rows = list(_read_rows(table))
  coding = [row for row in rows if row.feature == "CDS"]
  if not coding:
    raise InputError(table, "holds no CDS rows", "Give the table of an annotated assembly.")
  sequences = fasta.read_fasta_dict(genome)
  missing = [row.contig for row in coding if row.contig not in sequences]
  if missing:
    problem = f"contigs are not in {os.fspath(genome)}, whose names are {fasta.examples(sequences)}"
    raise InputError(table, problem, "Give the genome of the same assembly.", record=missing[0])
  proteins = fasta.read_records_of(table, protein, "protein", ([row.product] for row in coding if row.product))
  transcripts = None
  if rna is not None:
    transcripts = fasta.read_records_of(table, rna, "transcript", ([row.related] for row in coding if row.related))
  locations = _read_locations(cds) if cds is not None else None
  mrnas: dict[tuple[str, str], list[_Row]] = {}
  for row in rows:
    if row.feature == "mRNA":
      mrnas.setdefault((row.contig, row.product), []).append(row)
  for row in coding:
    try:
      yield _gene(
          row, sequences[row.contig], mrnas.get((row.contig, row.related), []), proteins, transcripts, locations,
          transl_table, taxon,
      )  # fmt: skip
    except LocationError as error:
      yield Reject(error.code, row.name, error.detail)


def _read_locations(path: str | os.PathLike) -> dict[tuple[str, str], list[str]]:
  """Contig and protein to the locations in `>lcl|NC_1.1_cds_NP_1.1_7 … [protein_id=NP_1.1] [location=join(…)]`."""
  locations: dict[tuple[str, str], list[str]] = {}
  for record in fasta.read_fasta(path):
    contig = re.match(r"lcl\|(.+)_cds_", record.name)
    fields = dict(re.findall(r"\[(protein_id|location)=([^\]]*)\]", record.description))
    if not contig or "location" not in fields:
      remedy = "Give NCBI's *_cds_from_genomic.fna."
      raise InputError(path, "the header gives no contig or location", remedy, record=record.name)
    if "protein_id" in fields:  # Pseudogenes have none.
      locations.setdefault((contig[1], fields["protein_id"]), []).append(fields["location"])
  return locations


def _gene(
    row: _Row,
    sequence: str,
    mrnas: list[_Row],
    proteins: Mapping[str, str],
    transcripts: Mapping[str, str] | None,
    locations: Mapping[tuple[str, str], list[str]] | None,
    transl_table: int,
    taxon: int,
) -> CodingGene | Reject:
  if row.feature_class == "without_protein" or not row.attributes.isdisjoint(("pseudo", "pseudogene")):
    return Reject("pseudogene", row.name, row.locus_tag)
  if row.product not in proteins:
    return Reject("missing_protein", row.name, row.product or "no product_accession")
  protein, transcript = proteins[row.product], None
  if transcripts is not None and row.related:
    if row.related not in transcripts:
      return Reject("missing_transcript", row.name, row.related)
    transcript = transcripts[row.related]
  if transl_table not in genetic_code.TABLE_IDS:
    return Reject("unknown_transl_table", row.name, f"transl_table={transl_table}")
  if "trans_splicing" in row.attributes:
    return Reject("trans_splicing", row.name, "attributes: trans_splicing")
  slips = "ribosomal_slippage" in row.attributes

  location = _location(row, len(sequence), locations)
  if location is not None:
    dna, cds_blocks, exon_blocks = _cut(row, sequence, mrnas, location)
  elif transcript is not None:
    frame = _find_frame(transcript, protein, transl_table)
    if frame is None:
      code = "ribosomal_slippage" if slips else "translation_mismatch"
      return Reject(code, row.name, f"no frame of {row.related} translates to the protein")
    dna, exon_blocks = transcript[slice(*frame)], None
    cds_blocks = ((0, len(dna)),)
  else:
    raise LocationError("bad_location", "introns or slips at unknown places: give rna, or cds (cds_from_genomic)")

  cds = "".join(dna[start:end] for start, end in cds_blocks)
  marked5, marked3 = (location.partial5, location.partial3) if location else (False, False)
  items = []
  # Where a CDS that is incomplete begins inside a codon, nothing tells how many bases to skip.
  for codon_start in (1, 2, 3) if "partial" in row.attributes else (1,):
    frame = cds[codon_start - 1 :]
    item = verify(
        record=row.name,
        gene_id=f"GeneID:{row.gene_id}" if row.gene_id else row.locus_tag or row.symbol or row.name,
        transcript_id=row.related,
        protein_id=row.product,
        taxon=taxon,
        dna=dna,
        cds_blocks=cds_blocks,
        exon_blocks=exon_blocks,
        codon_start=codon_start,
        rna=transcript,
        protein=protein,
        protein_source="record",
        transl_table=transl_table,
        transl_except={codon_start - 1 + at: residue for at, residue in _read_through(frame, protein).items()},
        partial5=marked5 or codon_start > 1 or not genetic_code.is_start(frame[:3], transl_table),
        partial3=marked3 or len(frame) % 3 > 0 or not genetic_code.is_stop(frame[-3:], transl_table),
        selected=False,
        genomic=location is not None,
        exception="ribosomal slippage" if slips else None,
    )
    if isinstance(item, CodingGene):
      return item
    items.append(item)
  return items[0]


def _location(
    row: _Row, length: int, locations: Mapping[tuple[str, str], list[str]] | None
) -> Location | None:
  """Where the CDS lies in its contig; None where it has introns that the files do not place."""
  if row.strand == 0:
    raise LocationError("bad_location", "no strand")
  if locations is None:
    return Location([row.part(length)], False, False) if row.is_contiguous(length) else None
  texts = locations.get((row.contig, row.product), [])
  for text in texts:
    location = parse_location(text)
    bases = sum(end - start for start, end, _ in location.parts)
    ends = {position for start, end, _ in location.parts for position in (start + 1, end)}
    if {row.start, row.end} <= ends and bases == row.bases:
      return location
  held = fasta.examples(texts) or "none of its protein"
  raise LocationError("bad_location", f"cds_from_genomic holds no such CDS but {held}")


def _cut(
    row: _Row, sequence: str, mrnas: list[_Row], location: Location
) -> tuple[str, tuple[tuple[int, int], ...], tuple[tuple[int, int], ...] | None]:
  """`coding_strand` of the gene; exons only where the transcript has no introns, else their places are unknown."""
  length = len(sequence)
  # The table does not say which molecules are circular; a join of both ends does.
  over_origin = min(part[0] for part in location.parts) == 0 and max(part[1] for part in location.parts) == length
  circular = over_origin or row.start > row.end
  around = [mrna for mrna in mrnas if mrna.start <= row.start and row.end <= mrna.end] or mrnas
  if not around:
    return coding_strand(sequence, location.parts, None, circular=circular)
  mrna = around[0]
  circular = circular or mrna.start > mrna.end
  dna, cds_blocks, exon_blocks = coding_strand(sequence, location.parts, [mrna.part(length)], circular=circular)
  return dna, cds_blocks, exon_blocks if mrna.is_contiguous(length) else None


def _find_frame(transcript: str, protein: str, transl_table: int) -> tuple[int, int] | None:
  """Where the transcript first translates to the protein, stop codon included; None where no frame does."""
  residues = protein.rstrip("*").translate(_READ_THROUGH)
  for frame in range(3 if residues else 0):
    translation = genetic_code.translate(transcript[frame:], transl_table)
    at = -1
    # The first residue may be the M of another start codon.
    while (at := translation.find(residues[1:], at + 2) - 1) >= 0:
      start = frame + 3 * at
      end = start + 3 * len(residues)
      first = transcript[start : start + 3]
      if translation[at] == residues[0] or residues[0] == "M" and genetic_code.is_start(first, transl_table):
        return start, end + 3 if genetic_code.is_stop(transcript[end : end + 3], transl_table) else end
  return None


def _read_through(frame: str, protein: str) -> dict[int, str]:
  """Offset to residue of the stop codons that the protein shows to be read as selenocysteine or pyrrolysine."""
  return {
      3 * i: residue
      for i, residue in enumerate(protein)
      if residue in "UO" and frame[3 * i : 3 * i + 3] == {"U": "TGA", "O": "TAG"}[residue]
  }
