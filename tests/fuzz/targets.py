"""What is fuzzed: each target reads one input of bytes with a parser, and checks what must hold for any bytes at all.

A parser yields items or raises `InputError`; a location, `LocationError`. Anything else that is raised here is a
defect: of the parser, or (`AssertionError`) of what it yields.
"""

import dataclasses
import gzip
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence

from data_pipelines import genes
from data_pipelines.errors import InputError
from data_pipelines.formats import fasta, feature_table, genbank, gff3, headers, location, mmseqs
from tests.data_pipelines import mmseqs_sample
from tests.fuzz import samples

_NUCLEOTIDES = re.compile(r"[A-Z*.-]*")


@dataclasses.dataclass(frozen=True)
class Target:
  """A parser with its checks.

  Attributes:
    run: reads the input, with the help of an empty folder; returns how many items the parser yielded, None where it
      refused the input with an `InputError`.
    seeds: valid inputs, each with the number of its items as it is known without the parser.
  """

  run: Callable[[pathlib.Path, bytes], int | None]
  seeds: Sequence[tuple[bytes, int]]


def write_files(folder: pathlib.Path, data: bytes, *names: str) -> list[pathlib.Path]:
  """The files that an input is made of; the last of several is what is left."""
  parts = data.split(samples.SEPARATOR, len(names) - 1)
  parts += [b""] * (len(names) - len(parts))
  for name, part in zip(names, parts):
    (folder / name).write_bytes(part)
  return [folder / name for name in names]


def consume(items: Iterable, check: Callable) -> int | None:
  """How many items come out, each checked; None where the input is refused."""
  count = 0
  try:
    for item in items:
      check(item)
      count += 1
  except InputError as error:
    # The message names the file and says what to do: two sentences at least.
    assert os.fspath(error.path) in str(error) and ". " in str(error), str(error)
    return None
  return count


def check_gene(item: genes.CodingGene | genes.Reject) -> None:
  """What a verified gene promises, whatever the file."""
  if isinstance(item, genes.Reject):
    assert item.code in genes.REASONS, item
    assert item.record, item
    return
  assert item.gene_id and item.protein and item.transl_table > 0, item
  for letters in (item.dna, item.rna, item.protein):
    assert _NUCLEOTIDES.fullmatch(letters), letters
  assert item.cds_blocks and all(0 <= start < end <= len(item.dna) for start, end in item.cds_blocks), item
  assert len(item.cds) // 3 - 1 <= len(item.protein) <= len(item.cds) // 3 + 1, item
  if item.rna_cds is not None:
    assert item.rna[slice(*item.rna_cds)] == item.cds, item


def _check_record(record: fasta.FastaRecord) -> None:
  assert record.name and record.sequence and re.fullmatch(r"[A-Z*.-]+", record.sequence), record
  assert headers.taxon(record.description) >= 0 and headers.accession(record.name), record


def run_fasta(folder: pathlib.Path, data: bytes) -> int | None:
  (path,) = write_files(folder, data, "x.fa")
  count = consume(fasta.read_fasta(path), _check_record)
  if count is not None and not data.startswith(b"\x1f\x8b"):
    assert count == len(re.findall(rb"^>", data.removeprefix(b"\xef\xbb\xbf"), re.MULTILINE)), count
  return count


def run_ranges(folder: pathlib.Path, data: bytes) -> int | None:
  """The first two bytes say where the file, of the others, is cut: the ranges hold what the whole does."""
  (path,) = write_files(folder, data[2:], "x.fa")
  first, second = sorted(byte * len(data) // 256 for byte in (data + b"\0\0")[:2])
  cuts = [(0, first), (first, second), (second, None)]
  whole: list = []
  parts: list = []
  count = consume(fasta.read_fasta(path), whole.append)
  refused = [consume(fasta.read_fasta(path, start=a, stop=b), parts.append) for a, b in cuts].count(None)
  if count is None:
    assert refused, parts
  elif not refused:
    assert parts == whole, (parts, whole)
  else:
    assert data[2:4] == b"\x1f\x8b"  # Plain gzip cannot be cut.
  return count


def run_gzip(folder: pathlib.Path, data: bytes) -> int | None:
  """As FASTA, where the input is meant to be compressed."""
  (path,) = write_files(folder, data, "x.fa.gz")
  return consume(fasta.read_fasta(path), _check_record)


def run_genbank(folder: pathlib.Path, data: bytes) -> int | None:
  (path,) = write_files(folder, data, "x.gb")
  count = consume(genbank.read_genbank(path), check_gene)
  sequences = genbank.read_genbank_sequences(path)
  consume((fasta.FastaRecord(item.name, "", item.sequence) for item in sequences), _check_record)
  return count


def run_gff3(folder: pathlib.Path, data: bytes) -> int | None:
  gff, genome, protein, rna = write_files(folder, data, "x.gff", "x.fna", "x.faa", "x_rna.fna")
  count = consume(gff3.read_gff3(gff, genome, missing_contig="reject"), check_gene)
  if rna.stat().st_size:
    count = consume(gff3.read_gff3(gff, genome, rna=rna, protein=protein), check_gene)
  elif protein.stat().st_size:
    count = consume(gff3.read_gff3(gff, genome, protein=protein), check_gene)
  return count


def run_feature_table(folder: pathlib.Path, data: bytes) -> int | None:
  names = ("x.txt", "x.fna", "x.faa", "x_cds.fna", "x_rna.fna")
  table, genome, protein, cds, rna = write_files(folder, data, *names)
  files = {name: path if path.stat().st_size else None for name, path in (("cds", cds), ("rna", rna))}
  count = consume(feature_table.read_feature_table(table, genome=genome, protein=protein, **files), check_gene)
  files["cds"] = None
  other = consume(feature_table.read_feature_table(table, genome=genome, protein=protein, **files), check_gene)
  assert None in (count, other) or count == other, (count, other)
  return count


def run_mmseqs(folder: pathlib.Path, data: bytes) -> int | None:
  write_files(folder, data, "x.dbtype", "x.index", "x", "x_h.dbtype", "x_h.index", "x_h")
  count = consume(mmseqs.read_mmseqs_db(folder / "x"), _check_record)
  names: list = []
  by_key = consume(mmseqs.read_mmseqs_db(folder / "x", headers=False), names.append)
  if by_key is not None:
    assert by_key == mmseqs.entries(folder / "x")
    assert count in (by_key, None)
    parts: list = []
    for start, stop in mmseqs.cuts(folder / "x", 10):
      part = mmseqs.read_mmseqs_db(folder / "x", start=start, stop=stop, headers=False)
      assert consume(part, parts.append) is not None
    assert parts == names, (parts, names)
  return count


def run_colabfold_tsv(folder: pathlib.Path, data: bytes) -> int | None:
  table, _ = write_files(folder, data, "x_seq.tsv", "x_h.tsv")
  count = consume(mmseqs.read_colabfold_tsv(table), _check_record)
  assert count is None or count == mmseqs.entries(table)
  return count


def run_location(_: pathlib.Path, data: bytes) -> int | None:
  """A location, and behind a `;` codons with an exceptional residue."""
  text, _, exceptions = data.decode("utf-8", "replace").partition(";")
  try:
    found = location.parse_location(text, 100)
    blocks = genes.unwrap(found.parts, 100, circular=True)
    assert found.parts and max(end for _, end in blocks) <= 400, blocks
    location.exceptional_codons(exceptions, found.parts, 1, 100)
  except genes.LocationError as error:
    assert error.code in genes.REASONS
    return None
  return len(found.parts)


def _bgzf(data: bytes) -> bytes:
  """One BGZF block."""
  deflated = gzip.compress(data, mtime=0)[10:]
  extra = b"\x06\0BC\x02\0" + (len(deflated) + 17).to_bytes(2, "little")
  return b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + extra + deflated


def _database(values: dict[int, bytes], kind: int, compress: bool) -> list[bytes]:
  """Type, index and data of an MMseqs2 database."""
  data, lines = b"", b""
  for key, value in values.items():
    written, length = mmseqs_sample.entry(value, compress)
    lines += b"%d\t%d\t%d\n" % (key, len(data), length)
    data += written
  return [(kind | compress * mmseqs_sample.COMPRESSED).to_bytes(4, "little"), lines, data]


def _targets() -> dict[str, Target]:
  bacterium, eukaryote = samples.bacterium(), samples.eukaryote()
  assemblies = [(assembly, samples.coding_features(assembly)) for assembly in (bacterium, eukaryote)]
  proteins = [samples.text(assembly, "protein_faa") for assembly in (bacterium, eukaryote)]
  letters = [(text, text.count(b">")) for text in proteins + [samples.text(eukaryote, "genomic_fna")]]
  sequences = {2: b"MKTAYI\n", 5: b"MKV*\n", 9: b"MKTAYIAKQR" * 9 + b"\n"}
  names = {2: b"a protein\n", 5: b"b TaxID=9\n", 9: b"c\n"}
  databases = [
      samples.SEPARATOR.join(_database(sequences, 0, compress) + _database(names, 12, compress))
      for compress in (False, True)
  ]
  locations = [(b"join(1..9,12..20)", 2), (b"complement(join(<3..30,40..>50));(pos:complement(40..42),aa:Sec)", 2),
               (b"95..8;(pos:98..100,aa:TERM),(pos:1,aa:Trp)", 1)]  # fmt: skip
  gff_files = ("genomic_gff", "genomic_fna", "protein_faa")
  table_files = ("feature_table", "genomic_fna", "protein_faa", "cds_from_genomic_fna")
  return {
      "fasta": Target(run_fasta, letters),
      "ranges": Target(run_ranges, [(b"\x30\x90" + text, n) for text, n in letters]
                       + [(b"\x30\x90" + _bgzf(text[:90]) + _bgzf(text[90:]), n) for text, n in letters]),
      "gzip": Target(run_gzip, [(gzip.compress(text, mtime=0), n) for text, n in letters]),
      "genbank": Target(run_genbank, [(samples.text(a, "genomic_gbff"), n) for a, n in assemblies]),
      "gff3": Target(run_gff3, [(samples.joined(bacterium, *gff_files), assemblies[0][1]),
                                (samples.joined(eukaryote, *gff_files, "rna_fna"), assemblies[1][1])]),
      "feature_table": Target(run_feature_table, [(samples.joined(bacterium, *table_files), assemblies[0][1]),
                                                  (samples.joined(eukaryote, *table_files, "rna_fna"),
                                                   assemblies[1][1])]),
      "mmseqs": Target(run_mmseqs, [(database, 3) for database in databases]),
      "colabfold_tsv": Target(run_colabfold_tsv, [(b"2\tMKTAYI\n5\tMKV\n" + samples.SEPARATOR + b"2\ta\n5\tb c\n", 2)]),
      "location": Target(run_location, locations),
  }  # fmt: skip


TARGETS = _targets()
