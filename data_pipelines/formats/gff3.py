"""GFF3 annotation with its FASTA files: one coding gene for every coding sequence of every transcript.

The format is that of https://github.com/The-Sequence-Ontology/Specifications/blob/master/gff3.md, with the attributes
that NCBI adds (https://www.ncbi.nlm.nih.gov/genbank/genomes_gff/).
"""

import collections
import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

from data_pipelines import genetic_code
from data_pipelines.errors import InputError
from data_pipelines.formats import compressed, fasta
from data_pipelines.genes import CodingGene, LocationError, Part, Reject, coding_strand, verify

Attributes = dict[str, list[str]]

# Types of features that a CDS may name as its parent: gene, pseudogene, mRNA, transcript, V_gene_segment, ORF, …
_PARENT_TYPE = re.compile("gene|transcript|RNA|ORF|operon")
_GTF_ATTRIBUTE = re.compile(r'\s*\w+ "')
_TRANSL_EXCEPT = re.compile(r"pos:(.+?),\s*aa:(\w+)")
# What `transl_except` calls the residues, and a stop.
_RESIDUE_NAMES = "Ala Arg Asn Asp Cys Gln Glu Gly His Ile Leu Lys Met Phe Pro Ser Thr Trp Tyr Val Sec Pyl Term Other"
_RESIDUES = dict(zip(_RESIDUE_NAMES.split(), "ARNDCQEGHILKMFPSTWYVUO*X", strict=True))


@dataclasses.dataclass(slots=True)
class _Cds:
  """The lines of one coding sequence under one parent; parts are (start, end, strand, phase), 0-based half-open."""

  contig: str
  parent: str
  label: str
  parts: list[tuple[int, int, int, int]] = dataclasses.field(default_factory=list)
  texts: list[str] = dataclasses.field(default_factory=list)  # The lines' attribute columns, repeats left out.


@dataclasses.dataclass
class _Annotation:
  """What is kept of a file: the coding sequences and what becoming genes takes."""

  cds: dict[tuple[str, str, str], _Cds] = dataclasses.field(default_factory=dict)  # By contig, parent, label.
  features: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)  # ID to type and attribute column.
  exons: dict[str, list[Part]] = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
  types: collections.Counter = dataclasses.field(default_factory=collections.Counter)
  circular: set[str] = dataclasses.field(default_factory=set)
  taxa: dict[str, int] = dataclasses.field(default_factory=dict)
  species: int = 0
  lengths: dict[str, int] = dataclasses.field(default_factory=dict)


def parse_attributes(text: str) -> Attributes:
  """Column 9, `key=value,value;…`, to key → values, percent-encoding undone."""
  attributes: Attributes = {}
  for field in text.split(";"):
    key, equals, value = field.strip().partition("=")
    if equals:
      values = value.split(",")
      attributes.setdefault(key, []).extend(map(unquote, values) if "%" in value else values)
  return attributes


def _first(attributes: Attributes, key: str) -> str:
  return attributes.get(key, ("",))[0]


def _field(text: str, key: str) -> str:
  """One attribute's value, still encoded: most lines need no more of their column 9."""
  key += "="
  at = text.find(key)
  while at > 0 and text[at - 1] not in "; ":
    at = text.find(key, at + 1)
  if at < 0:
    return ""
  end = text.find(";", at)
  return text[at + len(key) : end if end >= 0 else None].strip()


def _parents(text: str) -> list[str]:
  return [unquote(parent) for parent in _field(text, "Parent").split(",") if parent]


def _read_annotation(path: str | os.PathLike) -> _Annotation:
  found = _Annotation()
  last: tuple[str, str] | None = None
  groups: list[_Cds] = []
  with compressed.open_text(path) as lines:
    for number, line in enumerate(lines, 1):
      line = line.rstrip("\r\n")
      if line.startswith(("##FASTA", ">")):
        break
      if line.startswith("#") or not line.strip():
        _read_directive(found, line)
        continue
      columns = line.split("\t")
      if len(columns) != 9:
        problem = f"{len(columns)} columns between tabs, not 9"
        raise InputError(path, problem, "Check that the file is GFF3 and complete.", record=f"line {number}")
      contig, kind, text = columns[0], columns[2], columns[8]
      if not found.types and _GTF_ATTRIBUTE.match(text):
        remedy = "Give the GFF3 of the same annotation: NCBI and Ensembl publish both, gffread and AGAT convert."
        raise InputError(path, 'attributes are written as gene_id "…": this is GTF', remedy, record=f"line {number}")
      found.types[kind] += 1
      if kind == "CDS":
        part = _part(path, number, columns)
        if (contig, text) != last:  # Most lines repeat the attributes of the one before.
          groups = _groups(path, number, found, contig, text)
          last = contig, text
        for group in groups:
          group.parts.append(part)
      elif kind == "exon":
        part = _part(path, number, columns)[:3]
        for parent in _parents(text):
          found.exons[parent].append(part)
      elif _PARENT_TYPE.search(kind):
        if name := unquote(_field(text, "ID")):
          found.features.setdefault(name, (kind, text))
      else:
        if kind == "region" and (taxon := re.search(r"\btaxon:(\d+)", text)):
          found.taxa.setdefault(unquote(contig), int(taxon[1]))
        if "Is_circular=true" in text:
          found.circular.add(unquote(contig))
  if not found.cds:
    held = ", ".join(f"{count} {kind}" for kind, count in found.types.most_common(4)) or "nothing"
    problem = f"holds no feature of type CDS (it holds {held})"
    raise InputError(path, problem, "Give an annotation with coding sequences.")
  return found


def _read_directive(found: _Annotation, line: str) -> None:
  if line.startswith("##sequence-region"):
    words = line.split()
    # A region that begins later says nothing about the length.
    if len(words) == 4 and words[2] == "1" and words[3].isdecimal():
      found.lengths[unquote(words[1])] = int(words[3])
  elif line.startswith("##species") and (taxon := re.search(r"[?&]id=(\d+)", line)):
    found.species = found.species or int(taxon[1])


def _part(path: str | os.PathLike, number: int, columns: list[str]) -> tuple[int, int, int, int]:
  """Start and end (1-based closed to 0-based half-open), strand (0: none) and phase of a line."""
  start, end, _, strand, phase = columns[3:8]
  if not (start.isdecimal() and end.isdecimal() and 1 <= int(start) <= int(end)):
    problem = f"start {start!r} and end {end!r} are not two positions in order, counted from 1"
    raise InputError(path, problem, "Correct columns 4 and 5.", record=f"line {number}")
  if phase not in ("0", "1", "2", "."):
    raise InputError(path, f"phase {phase!r} is none of 0, 1, 2 and '.'", "Correct column 8.", record=f"line {number}")
  return int(start) - 1, int(end), {"+": 1, "-": -1}.get(strand, 0), 0 if phase == "." else int(phase)


def _groups(path: str | os.PathLike, number: int, found: _Annotation, contig: str, text: str) -> list[_Cds]:
  """The coding sequences that a line is part of: one for each of its parents."""
  contig, parents = unquote(contig), _parents(text)
  label = unquote(_field(text, "ID") or _field(text, "protein_id") or _field(text, "Name"))
  if not label and not parents:
    remedy = "Give each CDS an ID and, where its transcript is annotated, a Parent."
    raise InputError(path, "a CDS with neither ID, Parent, protein_id nor Name", remedy, record=f"line {number}")
  groups = []
  for parent in parents or [""]:
    group = found.cds.setdefault((contig, parent, label), _Cds(contig, parent, label))
    if text not in group.texts:
      group.texts.append(text)
    groups.append(group)
  return groups


def _coding_sequences(found: _Annotation) -> Iterator[_Cds]:
  """The file's coding sequences, those put together whose lines have an ID each."""
  by_parent = collections.defaultdict(list)
  for cds in found.cds.values():
    by_parent[cds.contig, cds.parent].append(cds)
  for (_, parent), siblings in by_parent.items():
    if len(siblings) == 1 or not parent or any(len(cds.parts) > 1 for cds in siblings):
      yield from siblings
      continue
    by_protein = collections.defaultdict(list)
    for cds in siblings:
      by_protein[_field(cds.texts[0], "protein_id")].append(cds)
    for protein_id, lines in by_protein.items():
      # Lines without protein_id are different proteins where they overlap, or have a gene for parent.
      spans = sorted(cds.parts[0] for cds in lines)
      apart = all(left[1] <= right[0] for left, right in zip(spans, spans[1:]))
      if protein_id or (apart and not found.features.get(parent, ("", ""))[0].endswith("gene")):
        texts = [cds.texts[0] for cds in lines]
        lines = [_Cds(lines[0].contig, parent, lines[0].label, spans, texts)]
      yield from lines


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
  found = _read_annotation(gff)
  sequences = fasta.read_fasta_dict(genome)
  _check_contigs(gff, genome, found, sequences, missing_contig)
  # Attributes are read anew each time: those of all a genome's genes would fill the memory.
  coding = lambda: (_Coding.of(cds, found) for cds in _coding_sequences(found))
  rna_records = _read_records(rna, gff, "transcript", (item.transcript_names for item in coding()))
  protein_records = _read_records(protein, gff, "protein", (item.protein_names for item in coding()))
  for item in coding():
    try:
      yield _gene(item, found, sequences, rna_records, protein_records, taxon, transl_table)
    except LocationError as error:
      yield Reject(error.code, item.name, error.detail)


def _check_contigs(
    gff: str | os.PathLike, genome: str | os.PathLike, found: _Annotation, sequences: Mapping[str, str], policy: str
) -> None:
  contigs = list(dict.fromkeys(contig for contig, _, _ in found.cds))
  missing = [contig for contig in contigs if contig not in sequences]
  if missing and (policy == "error" or len(missing) == len(contigs)):
    problem = f"{len(missing)} of {len(contigs)} contigs with coding sequences ({_some(missing)}) are not in "
    problem += f"{os.fspath(genome)}, whose names are {_some(sequences)}"
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


def _some(names: Iterable[str]) -> str:
  names = list(names)
  return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _read_records(
    path: str | os.PathLike | None, gff: str | os.PathLike, kind: str, wanted: Iterable[list[str]]
) -> dict[str, str] | None:
  """A FASTA of transcripts or proteins; one that holds none of those annotated belongs to another annotation."""
  if path is None:
    return None
  records = fasta.read_fasta_dict(path)
  examples = []
  for names in wanted:
    if not records.keys().isdisjoint(names):
      return records
    examples += names[:1]
  problem = f"holds {_some(records)}, but no {kind} of {os.fspath(gff)} ({_some(examples) or 'there is none'})"
  raise InputError(path, problem, f"Give the {kind}s of the same annotation, or leave this file out.")


@dataclasses.dataclass
class _Coding:
  """A coding sequence with the attributes of its transcript (None where none is annotated) and of its gene."""

  cds: _Cds
  attributes: Attributes
  transcript: Attributes | None
  gene: Attributes
  pseudogene: bool

  @classmethod
  def of(cls, cds: _Cds, found: _Annotation) -> "_Coding":
    attributes: Attributes = {}
    for text in reversed(cds.texts):  # Where lines disagree the first one counts.
      attributes |= parse_attributes(text)
    kind, text = found.features.get(cds.parent, ("", ""))
    transcript, gene = None, parse_attributes(text)
    kinds = kind
    if not kind.endswith("gene") and (kind or cds.parent in found.exons):
      transcript = gene or {"ID": [cds.parent]}
      kind, text = found.features.get(_first(transcript, "Parent"), ("", ""))
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
    locus_tags = [_first(level, "locus_tag") for level in levels]
    named = (_first(self.gene, "ID"), _first(self.transcript or {}, "Parent"), self.cds.parent, self.cds.label)
    return next(filter(None, (*references, *locus_tags, *named)))


def _names(attributes: Attributes, accession: str) -> list[str]:
  return [name for key in (accession, "ID", "Name") if (name := _first(attributes, key))]


def _gene(
    coding: _Coding,
    found: _Annotation,
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
  table = str(transl_table or _first(attributes, "transl_table") or 1)
  if not table.isdecimal() or int(table) not in genetic_code.TABLE_IDS:
    return Reject("unknown_transl_table", coding.name, f"transl_table={table}")

  sequence, circular = sequences[cds.contig], cds.contig in found.circular
  parts = _transcription_order(cds.parts, len(sequence), circular)
  exons = found.exons.get(cds.parent) if transcript is not None else None
  exons = exons and _transcription_order(exons, len(sequence), circular)
  dna, cds_blocks, exon_blocks = coding_strand(sequence, [part[:3] for part in parts], exons, circular=circular)
  frame = "".join(dna[start:end] for start, end in cds_blocks)[parts[0][3] :]
  transl_except = _exceptional_codons(attributes.get("transl_except", []), parts, len(sequence))
  at_edge = min(part[0] for part in parts) == 0 or max(part[1] for part in parts) == len(sequence)
  partial5, partial3 = _partial_ends(coding, frame, *parts[0][2:], int(table), transl_except, at_edge)
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
      codon_start=parts[0][3] + 1,
      rna=rna,
      protein=protein,
      protein_source="translated" if protein is None else "record",
      transl_table=int(table),
      transl_except=transl_except,
      partial5=partial5,
      partial3=partial3,
      selected=not tags.isdisjoint(("MANE Select", "RefSeq Select")),
      exception=_first(attributes, "exception") or None,
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


def _exceptional_codons(values: list[str], parts: list[tuple], length: int) -> dict[int, str]:
  """`(pos:1..3,aa:Sec)` in genomic positions to offset in the spliced CDS → residue."""
  residues = {}
  text = ",".join(values)
  matches = _TRANSL_EXCEPT.findall(text)
  strand, phase = parts[0][2:]
  for place, residue in matches:
    positions = [int(position) - 1 for position in re.findall(r"\d+", place)]
    base = min(positions) if strand > 0 else max(positions)
    offsets, done = [], 0
    for start, end, _, _ in parts:
      for at in (base, base + length):  # A part over the origin may end beyond the length.
        if start <= at < end:
          offsets.append(done + (at - start if strand > 0 else end - 1 - at))
      done += end - start
    if not offsets or residue.title() not in _RESIDUES:
      raise LocationError("bad_transl_except", text)
    # Where the ribosome slips back a base stands in two codons: the one that begins with it is meant.
    residues[min(offsets, key=lambda offset: (offset - phase) % 3)] = _RESIDUES[residue.title()]
  if len(matches) != text.count("aa:"):
    raise LocationError("bad_transl_except", text)
  return residues


def _partial_ends(
    coding: _Coding, frame: str, strand: int, phase: int, table: int, transl_except: Mapping[int, str], at_edge: bool
) -> tuple[bool, bool]:
  """Whether the CDS is incomplete at its 5' and 3' end; `frame` are its bases from the first whole codon."""
  # Only the CDS lines count: RefSeq marks transcripts and genes partial where merely the UTRs are unknown.
  marked5, marked3 = [any(f"{end}_range=" in text for text in coding.cds.texts) for end in ("start", "end")][::strand]
  # The first codon of a mature peptide (gbkey=Prot) starts nothing, whatever it is.
  starts = phase == 0 and _first(coding.attributes, "gbkey") != "Prot" and (
      genetic_code.is_start(frame[:3], table)
      or 0 in transl_except
      or _first(coding.attributes, "exception") == "alternative start codon"
  )
  # A last codon cut inside a contig is a mistake of the annotation, which `verify` reports.
  last = not at_edge if len(frame) % 3 else genetic_code.is_stop(frame[-3:], table)
  stops = last or "*" in transl_except.values()
  return marked5 or not starts, marked3 or not stops
