"""GenBank flat files: coding genes and genomic sequences, one record in memory at a time.

The layout is that of https://www.ncbi.nlm.nih.gov/genbank/release/current/ (section 3.4) and the feature table that of
https://www.insdc.org/submitting-standards/feature-table/. The reader is our own: the fast library for Python, gb-io
0.4, hands out `order(…)` and `one-of(…)` as if they were `join(…)`, refuses a file for one Latin-1 letter, and
does not name the record that it cannot read.
"""

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from data_pipelines import genes
from data_pipelines.errors import InputError
from data_pipelines.formats import compressed
from data_pipelines.formats.location import exceptional_codons, parse_location
from data_pipelines.verify import verify

_EXPECTED = (
    "A GenBank flat file is expected (*.gbff, *.gb, *.gbk), not FASTA, GFF3 or EMBL; if it is one, it is damaged:"
    " download it again."
)
_BLOCK = 1 << 20
_UPPER_DNA = bytes(range(256)).upper().replace(b"U", b"T")
_NOT_LETTERS = b"0123456789 \t\r\n"
_NUCLEOTIDES = b"ACGTNRYSWKMBDHV"
# The qualifiers that are read; most others are long prose.
_QUALIFIERS = {
    "artificial_location", "codon_start", "db_xref", "exception", "gene", "locus_tag", "protein_id", "pseudo",
    "pseudogene", "ribosomal_slippage", "trans_splicing", "transcript_id", "transl_except", "transl_table",
    "translation",
}  # fmt: skip
# Exceptions that are qualifiers of their own.
_EXCEPTIONS = {
    "trans_splicing": "trans-splicing",
    "ribosomal_slippage": "ribosomal slippage",
    "artificial_location": "artificial location",
}


@dataclasses.dataclass(frozen=True)
class Feature:
  """A feature as its record has it: key, location as text, and qualifiers, each with all its values."""

  key: str
  location: str
  qualifiers: Mapping[str, Sequence[str]]

  def first(self, name: str) -> str | None:
    """The qualifier's first value, "" for one without a value, None where it is absent."""
    return self.qualifiers[name][0] if name in self.qualifiers else None

  def number(self, name: str) -> int:
    """The qualifier as a number: 1, the default of both that are asked for, where it is absent; 0 where it is none."""
    value = self.first(name)
    return 1 if value is None else int(value) if value.isdecimal() and len(value) < 10 else 0


@dataclasses.dataclass(frozen=True)
class Record:
  """A record; `sequence` is "" where the file leaves it out (CONTIG)."""

  name: str
  moltype: str
  circular: bool
  keywords: str
  features: Sequence[Feature]
  sequence: str

  @property
  def circular_length(self) -> int | None:
    """The length where the record is circular."""
    return len(self.sequence) if self.circular else None

  @property
  def taxon(self) -> int:
    for feature in self.features:
      if feature.key == "source":
        for reference in feature.qualifiers.get("db_xref", ()):
          if re.fullmatch(r"taxon:\d{1,10}", reference):
            return int(reference[len("taxon:") :])
    return 0


def read_genbank_sequences(path: str | os.PathLike) -> Iterator[genes.GenomeSequence]:
  """Yields the sequence of each record of a GenBank file, plain or gzip.

  Raises:
    InputError: as `read_genbank`, and where a record holds no sequence.
  """
  for record in read_records(path):
    if not record.sequence:
      remedy = "Download the file with its sequences (*_genomic.gbff.gz, or the format 'gbwithparts')."
      raise InputError(path, "the record holds no sequence", remedy, record=record.name)
    moltype = "rna" if "RNA" in record.moltype else "dna"
    yield genes.GenomeSequence(record.name, record.taxon, record.sequence, record.circular, moltype)


def read_genbank(
    path: str | os.PathLike, *, taxon: int | None = None
) -> Iterator[genes.CodingGene | genes.Reject]:
  """Yields one item per CDS feature of a GenBank file, plain or gzip, in the file's order.

  The transcript is the mRNA feature of the same gene whose introns are the coding sequence's, or the record itself
  where that is an mRNA (then `CodingGene.genomic` is False); else there is none.

  Args:
    path: the file.
    taxon: NCBI taxonomy id of all records; None: from each record's source feature.

  Raises:
    InputError: the file is missing, empty, damaged, truncated or no GenBank file, or holds proteins.
  """
  for record in read_records(path):
    record_taxon = record.taxon if taxon is None else taxon
    selected = "MANE Select" in record.keywords or "RefSeq Select" in record.keywords
    transcripts = Transcripts(record)
    for feature in record.features:
      if feature.key == "CDS":
        yield coding_gene(record, feature, transcripts, record_taxon, selected)
    del record, transcripts  # They would stay in memory while the next record is read.


def coding_gene(
    record: Record, feature: Feature, transcripts: "Transcripts", taxon: int, selected: bool
) -> genes.CodingGene | genes.Reject:
  """A CDS feature as a gene of its record.

  Args:
    record: with its sequence.
    feature: the CDS.
    transcripts: of the record.
    taxon: NCBI taxonomy id, 0 where unknown.
    selected: see `genes.CodingGene`.
  """
  place = f"{record.name}:{feature.location}"
  protein_id = feature.first("protein_id") or ""
  symbol = feature.first("locus_tag") or feature.first("gene")
  called = protein_id or symbol or place[:100]
  if "pseudo" in feature.qualifiers or "pseudogene" in feature.qualifiers:
    return genes.Reject("pseudogene", called, place)
  if not record.sequence:
    return genes.Reject("missing_contig", called, f"record {record.name} holds no sequence")
  exceptions = [*feature.qualifiers.get("exception", ())]
  exceptions += [text for name, text in _EXCEPTIONS.items() if name in feature.qualifiers]
  codon_start = feature.number("codon_start")
  translation = feature.first("translation")
  try:
    location = parse_location(feature.location, record.circular_length)
    exons, transcript_id = transcripts.of(feature, location.parts)
    dna, cds_blocks, exon_blocks = genes.coding_strand(
        record.sequence, location.parts, exons, circular=record.circular
    )
    transl_except = {}
    if texts := feature.qualifiers.get("transl_except"):
      transl_except = exceptional_codons(",".join(texts), location.parts, codon_start, len(record.sequence))
  except genes.LocationError as error:
    return genes.Reject(error.code, called, f"{place}: {error.detail}")
  whole_record = record.moltype.endswith("mRNA")
  item = verify(
      record=called,
      gene_id=_gene_id(feature) or symbol or protein_id or place,
      transcript_id=transcript_id,
      protein_id=protein_id,
      taxon=taxon,
      dna=dna,
      cds_blocks=cds_blocks,
      exon_blocks=exon_blocks,
      codon_start=codon_start,
      rna=record.sequence if whole_record else None,
      protein=translation,
      protein_source="translated" if translation is None else "qualifier",
      transl_table=feature.number("transl_table"),
      transl_except=transl_except,
      partial5=location.partial5,
      partial3=location.partial3,
      selected=selected,
      genomic=not whole_record,
      exception=", ".join(exceptions),
  )
  if isinstance(item, genes.Reject):
    return dataclasses.replace(item, detail=f"{place}: {item.detail}")
  return item


def _gene_id(feature: Feature) -> str | None:
  return next((x for x in feature.qualifiers.get("db_xref", ()) if x.startswith("GeneID:")), None)


class Transcripts:
  """The transcripts that a record annotates, to be paired with its coding sequences."""

  def __init__(self, record: Record):
    self._record = record
    # Each one's exons as the file has them, and on their strand.
    self._by_gene: dict[str, list[tuple[list[genes.Part], list[genes.Block], str]]] = {}
    for feature in record.features:
      name = feature.first("locus_tag") or feature.first("gene")
      if feature.key == "mRNA" and name:
        try:
          parts = parse_location(feature.location, record.circular_length).parts
          exons = self._unwrap(parts)
        except genes.LocationError:
          continue  # Such a transcript can have no coding sequence in this record; each CDS is judged by itself.
        self._by_gene.setdefault(name, []).append((parts, exons, feature.first("transcript_id") or ""))

  def _unwrap(self, parts: Sequence[genes.Part]) -> list[genes.Block]:
    return genes.unwrap(parts, len(self._record.sequence), circular=self._record.circular)

  def of(self, feature: Feature, cds: Sequence[genes.Part]) -> tuple[list[genes.Part] | None, str]:
    """Exons and id of the CDS's transcript; None and "" where there is none.

    Of several that fit (they differ in their UTRs) each is used once, in the file's order, before one is used again.

    Raises:
      LocationError: `cds` names no stretch of the record.
    """
    if self._record.moltype.endswith("mRNA"):
      return [(0, len(self._record.sequence), 1)], self._record.name
    candidates = self._by_gene.get(feature.first("locus_tag") or feature.first("gene") or "", [])
    if not candidates:
      return None, ""
    blocks = self._unwrap(cds)
    for i, (parts, exons, transcript_id) in enumerate(candidates):
      # Where only the transcript begins before the origin, the CDS is one turn further on.
      turn = len(self._record.sequence) if self._record.circular and blocks[0][0] < exons[0][0] else 0
      shifted = [(start + turn, end + turn) for start, end in blocks]
      if parts[0][2] == cds[0][2] and _is_spliced_alike(shifted, exons):
        candidates.append(candidates.pop(i))
        return parts, transcript_id
    return None, ""


def _is_spliced_alike(cds: Sequence[genes.Block], exons: Sequence[genes.Block]) -> bool:
  """Whether the exons span the CDS and their introns inside it are exactly the CDS's."""
  low, high = cds[0][0], max(end for _, end in cds)
  introns = [intron for intron in _introns(exons) if intron[0] < high and intron[1] > low]
  return exons[0][0] <= low and high <= max(end for _, end in exons) and introns == _introns(cds)


def _introns(blocks: Sequence[genes.Block]) -> list[genes.Block]:
  """Gaps between blocks; a gap of one or two bases is a slip of the ribosome, not an intron."""
  return [(left[1], right[0]) for left, right in zip(blocks, blocks[1:]) if right[0] - left[1] > 2]


def read_records(path: str | os.PathLike) -> Iterator[Record]:
  """The records of a file, one in memory at a time.

  Raises:
    InputError: the file is missing, truncated, damaged or no GenBank file.
  """
  found = False
  for data, closed in _split(path):
    start = next((match.start() for match in re.finditer(rb"^LOCUS\b", data, re.MULTILINE)), None)
    # A release file begins with some lines about itself; anything else before LOCUS is a record that has lost it.
    before = data[:start].strip()
    if before and (found or b"\nFEATURES" in before or start is None and closed):
      raise InputError(path, f"no line begins with LOCUS in the record that begins with {before[:40]!r}", _EXPECTED)
    if start is None:
      continue  # Blank lines at the end, or no GenBank file.
    found = True
    data = data[start:]
    name = data[:200].split()[1].decode("utf-8", "replace") if len(data[:200].split()) > 1 else "LOCUS"
    if not closed or b"\nLOCUS " in data:
      remedy = "The file is truncated or damaged: download it again (a record ends with a line '//')."
      raise InputError(path, "the record has no end", remedy, record=name)
    # To find one byte takes a tenth of the time that two take.
    record = _parse(path, name, data.replace(b"\r\n", b"\n") if b"\r" in data else data)
    del data, before  # Nothing of this record is to be in memory when the next one is read.
    yield record
    del record
  if not found:
    raise InputError(path, "no line begins with LOCUS", _EXPECTED)


def _split(path: str | os.PathLike) -> Iterator[tuple[bytes, bool]]:
  """The file's records, and whether each is closed by `//`."""

  def joined() -> bytes:
    data = b"".join(pieces)
    pieces.clear()
    return data

  with compressed.open_binary(path) as stream:
    pieces: list[bytes] = []
    while block := stream.read(_BLOCK) + stream.readline():
      *ends, rest = (b"\n" + block).split(b"\n//")
      # The newline put in front, to find a `//` there too, is taken away again.
      for part in [ends[0][1:], *ends[1:]] if ends else []:
        pieces.append(part)
        yield joined(), True
      pieces.append(rest if ends else rest[1:])
    yield joined(), False


def _parse(path: str | os.PathLike, locus: str, data: bytes) -> Record:
  table_at = data.find(b"\nFEATURES")
  origin_at = data.find(b"\nORIGIN", max(table_at, 0))
  table_end = len(data) if origin_at < 0 else origin_at
  header = data[: table_end if table_at < 0 else table_at].decode("utf-8", "replace")
  if table_at < 0 and (strange := re.search(r"\n {5}[A-Za-z_].*", header)):
    problem = f"no line FEATURES before {strange[0].strip()[:40]!r}"
    raise InputError(path, problem, "The file is damaged: download or export it again.", record=locus)
  first_line = header.partition("\n")[0].split()
  if "aa" in first_line:
    remedy = "Use the nucleotide records (their CDS features hold the proteins), or the proteins as FASTA."
    raise InputError(path, "a protein record", remedy, record=locus)
  letters = b""
  if origin_at >= 0:
    line_end = data.find(b"\n", origin_at + 1)
    letters = data[line_end:].translate(_UPPER_DNA, _NOT_LETTERS) if line_end >= 0 else b""
  if strange := letters.translate(None, _NUCLEOTIDES):
    problem = f"{strange[:1]!r} in the sequence is no nucleotide"
    raise InputError(path, problem, "The file is damaged: download or export it again.", record=locus)
  length = re.search(r"\s(\d+) bp\s", header)
  if letters and length and length[1].lstrip("0") != str(len(letters)):
    problem = f"LOCUS promises {length[1]} bases, the record holds {len(letters)}"
    raise InputError(path, problem, "The file is truncated or damaged: download or export it again.", record=locus)
  # The first word of these lines that is no placeholder; the LOCUS name may be shortened.
  names = re.findall(r"^(?:VERSION|ACCESSION) +([^\s.]\S*)", header, re.MULTILINE)
  keywords = re.search(r"^KEYWORDS +(.*(?:\n +.*)*)", header, re.MULTILINE)
  table = "" if table_at < 0 else data[table_at + 1 : table_end].decode("utf-8", "replace")
  return Record(
      name=names[-1] if names else locus,
      moltype=next((word for word in first_line[2:] if word.endswith(("DNA", "RNA"))), ""),
      circular="circular" in first_line[2:],
      keywords=" ".join(keywords[1].split()) if keywords else "",
      features=_features(path, locus, table),
      sequence=letters.decode("ascii"),
  )


# A line end is not among the white space: at thousands of blank lines each would be tried as the first one.
_QUALIFIER = re.compile(r'\n[ \t]+/([^\s=/]+)(?:=("[^"]*(?:""[^"]*)*"|[^"\n]*(?:\n[ \t]+[^/\s].*)*))?')
_FIRST_QUALIFIER = re.compile(r"\n[ \t]+/")


def _features(path: str | os.PathLike, locus: str, table: str) -> list[Feature]:
  """The CDS, mRNA and source features of a feature table, whose first line is `FEATURES`."""
  features = []
  # The table ends at the next line that is not indented.
  table, *rest = re.split(r"\n(?=\S)", table, maxsplit=1)
  blocks = re.split(r"\n {5}(?=\S)", table)
  strange = rest and not re.match(r"BASE COUNT|CONTIG|WGS|TSA|TLS", rest[0]) and rest[0]
  if not strange and len(blocks) - 1 + table.count("\n" + " " * 21) != table.count("\n"):
    # Keys are indented by 5, the rest by 21 or more; a line of which this is no longer true would lose its feature.
    damaged = re.search(r"\n((?: {1,4}| {6,20})\S.*)", table)
    strange = damaged and damaged[1]
  if strange:
    problem = f"{strange.partition(chr(10))[0][:60]!r} is no line of a feature table"
    raise InputError(path, problem, "The file is damaged: download or export it again.", record=locus)
  for block in blocks[1:]:
    key, _, rest = block.partition(" ")
    if key in ("CDS", "mRNA", "source"):
      location = _FIRST_QUALIFIER.split(rest, maxsplit=1)[0]
      qualifiers: dict[str, list[str]] = {}
      for name, value in _QUALIFIER.findall(rest, len(location)):
        if name in _QUALIFIERS:
          separator = "" if name in ("translation", "transl_except") else " "
          qualifiers.setdefault(name, []).append(separator.join(value.strip('"').split()))
      features.append(Feature(key, "".join(location.split()), qualifiers))
  return features
