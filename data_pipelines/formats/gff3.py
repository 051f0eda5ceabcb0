"""GFF3 annotation with its FASTA files: one coding gene for every coding sequence of every transcript."""

import dataclasses
import os
from collections.abc import Iterator, Mapping

from data_pipelines import genetic_code
from data_pipelines.errors import InputError
from data_pipelines.formats import fasta
from data_pipelines.formats.gff3_lines import (
    Annotation,
    Attributes,
    Cds,
    coding_sequences,
    first_value,
    parse_attributes,
    read_annotation,
)
from data_pipelines.formats.location import exceptional_codons
from data_pipelines.genes import CodingGene, LocationError, Reject, coding_strand
from data_pipelines.verify import verify


def read_gff3(
    gff: str | os.PathLike,
    genome: str | os.PathLike,
    *,
    rna: str | os.PathLike | None = None,
    protein: str | os.PathLike | None = None,
    taxon: int | None = None,
    transl_table: int | None = None,
    missing_contig: str = "error",
) -> Iterator[CodingGene | Reject]:
  """Yields one item for each coding sequence of each transcript.

  The lines of a CDS share its ID and parent, wherever they stand; lines that have an ID each, or none, are one CDS if
  they share transcript and `protein_id`. A line with several parents belongs to several items. Exons are the `exon`
  lines of the transcript; without any, the item has none. An end is partial where the CDS lines say so (`start_range`,
  `end_range`) or where there is no start or stop codon.

  Args:
    gff: GFF3, plain or gzip; sequences inside it (`##FASTA`) are not read.
    genome: FASTA whose names are those of column 1, letter for letter.
    rna: FASTA of the transcripts, found by `transcript_id`, else ID, else Name; None: spliced from the genome.
    protein: FASTA of the proteins, found by `protein_id`, else ID, else Name; None: translated.
    taxon: NCBI taxonomy id; None: that of the contig's `region` line, else of `##species`, else 0.
    transl_table: genetic code of all coding sequences; None: each one's `transl_table`, else 1.
    missing_contig: what to do about coding sequences on contigs that `genome` lacks: `error`, or `reject` each one.

  Raises:
    InputError: a file is missing or damaged, or is no GFF3; a line cannot be read; there is no coding sequence; contigs
      are missing (see `missing_contig`) or differ in length; not one contig, transcript or protein is found.
  """
  if missing_contig not in ("error", "reject"):
    raise ValueError(f"missing_contig={missing_contig!r}: 'error' or 'reject'")
  found = read_annotation(gff)
  sequences = fasta.read_fasta_dict(genome)
  _check_contigs(gff, genome, found, sequences, missing_contig)
  # Attributes are read anew each time: those of all a genome's genes would fill the memory.
  coding = lambda: (_Coding.of(cds, found) for cds in coding_sequences(found))
  rna_records = protein_records = None
  if rna is not None:
    rna_records = fasta.read_records_of(gff, rna, "transcript", (item.transcript_names for item in coding()))
  if protein is not None:
    protein_records = fasta.read_records_of(gff, protein, "protein", (item.protein_names for item in coding()))
  for item in coding():
    try:
      yield _gene(item, found, sequences, rna_records, protein_records, taxon, transl_table)
    except LocationError as error:
      yield Reject(error.code, item.name, error.detail)


def _check_contigs(
    gff: str | os.PathLike, genome: str | os.PathLike, found: Annotation, sequences: Mapping[str, str], policy: str
) -> None:
  contigs = list(dict.fromkeys(contig for contig, _, _ in found.cds))
  missing = [contig for contig in contigs if contig not in sequences]
  if missing and (policy == "error" or len(missing) == len(contigs)):
    problem = f"{len(missing)} of {len(contigs)} contigs with coding sequences ({fasta.examples(missing)}) are not in "
    problem += f"{os.fspath(genome)}, whose names are {fasta.examples(sequences)}"
    remedy = "Give the genome of the same assembly, under the same names."
    if len(missing) < len(contigs):
      remedy += " Or pass missing_contig='reject' to count and skip what lies on the missing ones."
    raise InputError(gff, problem, remedy, record=missing[0])
  for contig in contigs:
    length = len(sequences.get(contig, ""))
    if length and found.lengths.get(contig, length) != length:
      problem = f"##sequence-region gives {found.lengths[contig]} bases, {os.fspath(genome)} holds {length}"
      remedy = "Give both files of the same assembly; if the FASTA is meant as it is, delete that line."
      raise InputError(gff, problem, remedy, record=contig)


@dataclasses.dataclass
class _Coding:
  """A coding sequence with the attributes of its transcript (None where none is annotated) and of its gene."""

  cds: Cds
  attributes: Attributes
  transcript: Attributes | None
  gene: Attributes
  pseudogene: bool

  @classmethod
  def of(cls, cds: Cds, found: Annotation) -> "_Coding":
    attributes: Attributes = {}
    for text in reversed(cds.texts):  # Where lines disagree the first one counts.
      attributes |= parse_attributes(text)
    kind, text = found.features.get(cds.parent, ("", ""))
    transcript, gene = None, parse_attributes(text)
    kinds = kind
    if not kind.endswith("gene") and (kind or cds.parent in found.exons):
      transcript = gene or {"ID": [cds.parent]}
      kind, text = found.features.get(first_value(transcript, "Parent"), ("", ""))
      gene = parse_attributes(text)
      kinds += kind
    levels = (attributes, transcript or {}, gene)
    pseudogene = "pseudogen" in kinds or any("pseudo" in level or "pseudogene" in level for level in levels)
    return cls(cds, attributes, transcript, gene, pseudogene)

  @property
  def protein_names(self) -> list[str]:
    return _names(self.attributes, "protein_id")

  @property
  def transcript_names(self) -> list[str]:
    return _names(self.transcript or {}, "transcript_id")

  @property
  def name(self) -> str:
    """What a `Reject` calls it; a CDS has at least a parent."""
    return [*self.protein_names, *self.transcript_names, self.cds.parent][0]

  @property
  def gene_id(self) -> str:
    levels = (self.attributes, self.transcript or {}, self.gene)
    references = [item for level in levels for item in level.get("Dbxref", ()) if item.startswith("GeneID:")]
    locus_tags = [first_value(level, "locus_tag") for level in levels]
    ids = first_value(self.gene, "ID"), first_value(self.transcript or {}, "Parent"), self.cds.parent, self.cds.label
    return next(filter(None, (*references, *locus_tags, *ids)))


def _exceptions(attributes: Attributes) -> str:
  """Why the product is not what the letters say, several between commas."""
  return ", ".join(attributes.get("exception", ()))


def _names(attributes: Attributes, accession: str) -> list[str]:
  return [name for key in (accession, "ID", "Name") if (name := first_value(attributes, key))]


def _gene(
    coding: _Coding,
    found: Annotation,
    sequences: Mapping[str, str],
    rna_records: Mapping[str, str] | None,
    protein_records: Mapping[str, str] | None,
    taxon: int | None,
    transl_table: int | None,
) -> CodingGene | Reject:
  cds, attributes, transcript = coding.cds, coding.attributes, coding.transcript
  if cds.contig not in sequences:
    return Reject("missing_contig", coding.name, cds.contig)
  if coding.pseudogene:
    return Reject("pseudogene", coding.name, coding.gene_id)
  rna = protein = None
  if rna_records is not None and transcript is not None:
    rna = next((rna_records[name] for name in coding.transcript_names if name in rna_records), None)
    if rna is None:
      return Reject("missing_transcript", coding.name, ", ".join(coding.transcript_names))
  if protein_records is not None:
    protein = next((protein_records[name] for name in coding.protein_names if name in protein_records), None)
    if protein is None:
      return Reject("missing_protein", coding.name, ", ".join(coding.protein_names) or "no protein_id")
  table = str(transl_table or first_value(attributes, "transl_table") or 1)
  if table not in map(str, genetic_code.TABLE_IDS):
    return Reject("unknown_transl_table", coding.name, f"transl_table={table}")

  sequence, circular = sequences[cds.contig], cds.contig in found.circular
  lines = _transcription_order(cds.parts, len(sequence), circular)
  parts, (strand, phase) = [line[:3] for line in lines], lines[0][2:]
  exons = found.exons.get(cds.parent) if transcript is not None else None
  exons = exons and _transcription_order(exons, len(sequence), circular)
  dna, cds_blocks, exon_blocks = coding_strand(sequence, parts, exons, circular=circular)
  frame = "".join(dna[start:end] for start, end in cds_blocks)[phase:]
  transl_except = exceptional_codons(",".join(attributes.get("transl_except", ())), parts, phase + 1, len(sequence))
  reaches_end = not circular and (parts[-1][1] == len(sequence) if strand > 0 else parts[-1][0] == 0)
  partial5, partial3 = _partial_ends(coding, frame, strand, phase, int(table), transl_except, reaches_end)
  tags = {tag.replace("_", " ") for level in (attributes, transcript or {}) for tag in level.get("tag", ())}
  return verify(
      record=coding.name,
      gene_id=coding.gene_id,
      transcript_id=(coding.transcript_names or [""])[0],
      protein_id=(coding.protein_names or [""])[0],
      taxon=found.taxa.get(cds.contig, found.species) if taxon is None else taxon,
      dna=dna,
      cds_blocks=cds_blocks,
      exon_blocks=exon_blocks,
      codon_start=phase + 1,
      rna=rna,
      protein=protein,
      protein_source="translated" if protein is None else "record",
      transl_table=int(table),
      transl_except=transl_except,
      partial5=partial5,
      partial3=partial3,
      selected=not tags.isdisjoint(("MANE Select", "RefSeq Select")),
      exception=_exceptions(attributes),
  )


def _transcription_order(parts: list[tuple], length: int, circular: bool) -> list[tuple]:
  """Parts (start, end, strand, …) from 5' to 3', whatever their order in the file."""
  strands = {part[2] for part in parts}
  if 0 in strands:
    raise LocationError("bad_location", "a part without a strand")
  if len(strands) > 1:
    return parts
  ordered = sorted(parts)
  if circular:
    if ordered[0][0] == 0 and ordered[-1][1] == length:
      # Two parts meet at the origin: the gene begins behind the widest gap.
      gaps = [right[0] - left[1] for left, right in zip(ordered, ordered[1:])]
      begin = gaps.index(max(gaps)) + 1 if gaps else 0
      ordered = ordered[begin:] + ordered[:begin]
    ordered = [(part[0] - length, part[1] - length, *part[2:]) if part[0] >= length else part for part in ordered]
  return ordered if strands == {1} else ordered[::-1]


def _partial_ends(
    coding: _Coding,
    frame: str,
    strand: int,
    phase: int,
    table: int,
    transl_except: Mapping[int, str],
    reaches_end: bool,
) -> tuple[bool, bool]:
  """Whether the CDS is incomplete at its 5' and 3' end.

  `frame` are its bases from the first whole codon; `reaches_end` is whether its 3' end is the contig's.
  """
  # Only the CDS lines count: RefSeq marks transcripts and genes partial where merely the UTRs are unknown.
  marked5, marked3 = [any(f"{end}_range=" in text for text in coding.cds.texts) for end in ("start", "end")][::strand]
  # The first codon of a mature peptide (gbkey=Prot) starts nothing, whatever it is.
  starts = phase == 0 and first_value(coding.attributes, "gbkey") != "Prot" and (
      genetic_code.is_start(frame[:3], table)
      or 0 in transl_except
      or "alternative start codon" in _exceptions(coding.attributes)
  )
  # A last codon cut inside a contig is a mistake of the annotation, which `verify` reports.
  last = not reaches_end if len(frame) % 3 else genetic_code.is_stop(frame[-3:], table)
  stops = last or "*" in transl_except.values()
  return marked5 or not starts, marked3 or not stops
