"""The lines of a GFF3 file, gathered into coding sequences; no sequence is looked at here.

The format is that of https://github.com/The-Sequence-Ontology/Specifications/blob/master/gff3.md, with the attributes
that NCBI adds (https://www.ncbi.nlm.nih.gov/genbank/genomes_gff/).
"""

import collections
import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from data_pipelines.errors import InputError
from data_pipelines.formats import compressed
from data_pipelines.genes import Part

Attributes = dict[str, list[str]]

# Types of features that a CDS may name as its parent: gene, pseudogene, mRNA, transcript, V_gene_segment, ORF, …
_PARENT_TYPE = re.compile("gene|transcript|RNA|ORF|operon")
_NUMBER = re.compile(r"[0-9]{1,18}")
_GTF_ATTRIBUTE = re.compile(r'\s*\w+ "')


@dataclasses.dataclass(slots=True)
class Cds:
  """The lines of one coding sequence under one parent; parts are (start, end, strand, phase), 0-based half-open."""

  contig: str
  parent: str
  label: str
  parts: list[tuple[int, int, int, int]] = dataclasses.field(default_factory=list)
  texts: list[str] = dataclasses.field(default_factory=list)  # The lines' attribute columns, repeats left out.


@dataclasses.dataclass
class Annotation:
  """What is kept of a file: the coding sequences and what becoming genes takes."""

  cds: dict[tuple[str, str, str], Cds] = dataclasses.field(default_factory=dict)  # By contig, parent, label.
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


def first_value(attributes: Attributes, key: str) -> str:
  """The attribute's first value, "" where it is absent."""
  return attributes.get(key, ("",))[0]


def _field(text: str, key: str) -> str:
  """One attribute's value, still encoded: most lines need no more of their column 9."""
  key += "="
  at = text.find(key)
  while at > 0 and text[:at].rstrip()[-1:] not in ";":  # It is the end of another key, or inside a value.
    at = text.find(key, at + 1)
  if at < 0:
    return ""
  end = text.find(";", at)
  return text[at + len(key) : end if end >= 0 else None].strip()


def _parents(text: str) -> list[str]:
  return [unquote(parent) for parent in _field(text, "Parent").split(",") if parent]


def read_annotation(path: str | os.PathLike) -> Annotation:
  """Reads the lines before `##FASTA`.

  Raises:
    InputError: the file is missing or damaged, or is no GFF3; a line cannot be read; there is no coding sequence.
  """
  found = Annotation()
  last: tuple[str, str] | None = None
  groups: list[Cds] = []
  with compressed.open_text(path) as lines:
    for number, line in enumerate(lines, 1):
      line = line.rstrip("\r\n")
      if line.startswith(("##FASTA", ">")):
        _check_sequences(path, number, lines)
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
        if kind == "region" and (taxon := re.search(r"\btaxon:(\d{1,9})\b", text)):
          found.taxa.setdefault(unquote(contig), int(taxon[1]))
        if "Is_circular=true" in text:
          found.circular.add(unquote(contig))
  if not found.cds:
    held = ", ".join(f"{count} {kind}" for kind, count in found.types.most_common(4)) or "nothing"
    problem = f"holds no feature of type CDS (it holds {held})"
    raise InputError(path, problem, "Give an annotation with coding sequences.")
  return found


def _check_sequences(path: str | os.PathLike, number: int, lines: Iterable[str]) -> None:
  """Sequences come last: features behind them would be lost."""
  for at, line in enumerate(lines, number + 1):
    if "\t" in line and not line.startswith(">"):
      problem = f"a feature stands behind line {number}, where sequences begin"
      raise InputError(path, problem, "Put '##FASTA' and the sequences last, or leave them out.", record=f"line {at}")


def _read_directive(found: Annotation, line: str) -> None:
  if line.startswith("##sequence-region"):
    words = line.split()
    # A region that begins later says nothing about the length.
    if len(words) == 4 and words[2] == "1" and _NUMBER.fullmatch(words[3]):
      found.lengths[unquote(words[1])] = int(words[3])
  elif line.startswith("##species") and (taxon := re.search(r"[?&]id=(\d{1,9})\b", line)):
    found.species = found.species or int(taxon[1])


def _part(path: str | os.PathLike, number: int, columns: list[str]) -> tuple[int, int, int, int]:
  """Start and end (1-based closed to 0-based half-open), strand (0: none) and phase of a line."""
  start, end, _, strand, phase = columns[3:8]
  if not (_NUMBER.fullmatch(start) and _NUMBER.fullmatch(end) and 1 <= int(start) <= int(end)):
    problem = f"start {start!r} and end {end!r} are not two positions in order, counted from 1"
    raise InputError(path, problem, "Correct columns 4 and 5.", record=f"line {number}")
  if phase not in ("0", "1", "2", "."):
    raise InputError(path, f"phase {phase!r} is none of 0, 1, 2 and '.'", "Correct column 8.", record=f"line {number}")
  return int(start) - 1, int(end), {"+": 1, "-": -1}.get(strand, 0), 0 if phase == "." else int(phase)


def _groups(path: str | os.PathLike, number: int, found: Annotation, contig: str, text: str) -> list[Cds]:
  """The coding sequences that a line is part of: one for each of its parents."""
  contig, parents = unquote(contig), _parents(text)
  label = unquote(_field(text, "ID") or _field(text, "protein_id") or _field(text, "Name"))
  if not label and not parents:
    remedy = "Give each CDS an ID and, where its transcript is annotated, a Parent."
    raise InputError(path, "a CDS with neither ID, Parent, protein_id nor Name", remedy, record=f"line {number}")
  groups = []
  for parent in parents or [""]:
    group = found.cds.setdefault((contig, parent, label), Cds(contig, parent, label))
    if text not in group.texts:
      group.texts.append(text)
    groups.append(group)
  return groups


def coding_sequences(found: Annotation) -> Iterator[Cds]:
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
        lines = [Cds(lines[0].contig, parent, lines[0].label, spans, texts)]
      yield from lines
