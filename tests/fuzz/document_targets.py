"""What is fuzzed beside the formats of sequences: NCBI Gene's tables, web documents, and the search in their text."""

import gzip
import json
import pathlib
import re
from collections.abc import Iterable

import pyarrow

from data_pipelines.formats import fineweb, gene_tables, tabular
from data_pipelines.genes import Reject
from data_pipelines.web.config import WebConfig
from data_pipelines.web_interleaved import REASONS, extract
from tests.fuzz import targets
from tests.fuzz.targets import Target

_COLUMNS = (
    "tax_id GeneID status RNA_nucleotide_accession.version RNA_nucleotide_gi protein_accession.version protein_gi "
    "genomic_nucleotide_accession.version genomic_nucleotide_gi start_position_on_the_genomic_accession "
    "end_position_on_the_genomic_accession orientation assembly mature_peptide_accession.version mature_peptide_gi "
    "Symbol"
).split()


def _rows(batches: Iterable[pyarrow.RecordBatch]) -> Iterable[dict]:
  return (row for batch in batches for row in batch.to_pylist())


def _check_row(row: dict) -> None:
  assert row["taxon"] is not None and row["gene"] is not None and row["status"], row


def run_gene_table(folder: pathlib.Path, data: bytes) -> int | None:
  (path,) = targets.write_files(folder, data, "gene2accession")
  count = targets.consume(_rows(gene_tables.read_gene_table(path)), _check_row)
  if count is not None and not data.startswith(b"\x1f\x8b"):
    assert count == len(re.split(rb"\r\n|\r|\n", data.rstrip(b"\r\n"))) - 1, count
  return count


def run_collab(folder: pathlib.Path, data: bytes) -> int | None:
  (path,) = targets.write_files(folder, data, "collab")
  return targets.consume(_rows(gene_tables.read_collab(path)), lambda row: None)


def run_tabular(folder: pathlib.Path, data: bytes) -> int | None:
  (path,) = targets.write_files(folder, data, "x.tsv")
  targets.consume(tabular.read_table(path, "csv", ["1"], header=False), lambda row: None)
  return targets.consume(tabular.read_table(path, "tsv", ["name", "sequence"]), lambda row: None)


def _check_document(item: fineweb.WebDocument | Reject) -> None:
  if isinstance(item, Reject):
    assert item.code in fineweb.REASONS and item.record, item
  else:
    assert item.id and item.text and (item.text + item.url + item.language + item.id).encode("utf-8"), item


def run_fineweb(folder: pathlib.Path, data: bytes) -> int | None:
  (path,) = targets.write_files(folder, data, "x.jsonl")
  count = targets.consume(fineweb.read_documents(path), _check_document)
  if count is not None and data[:2] != b"\x1f\x8b" and data[:4] not in (b"\x28\xb5\x2f\xfd", b"PAR1"):
    assert count == sum(bool(line.strip()) for line in data.split(b"\n")), count
  return count


def run_web_text(_: pathlib.Path, data: bytes) -> int | None:
  """The search in a text: what is found stands there."""
  text = data.decode("utf-8", "replace")
  found = extract(text, WebConfig())
  for item in found.sequences:
    assert item.pieces and all(0 <= start <= end <= len(text) for start, end in item.pieces), item
    pieces = "".join(text[start:end] for start, end in item.pieces).upper()
    assert item.how == "three_letter" or item.how == "seqres" or pieces.rstrip("*") == item.letters, (pieces, item)
  assert all(item.code in REASONS for item in found.rejected), found.rejected
  return len(found.sequences)


def _targets() -> dict[str, Target]:
  row = "9606\t42\tREVIEWED\tNM_000042.1\t1111\tNP_000043.1\t2\tNC_000001.1\t3\t999\t8999\t+\tGRCh38\t-\t-\tABC1\n"
  other = "9606\t42\t-\t-\t-\tP00042.2\t6666\t-\t-\t-\t-\t?\t-\t-\t-\tABC1\n"
  table = ("#" + "\t".join(_COLUMNS) + "\n" + row + other).encode()
  collab = b"#NCBI_protein_accession\tUniProtKB_protein_accession\tNCBI_tax_id\nNP_000043\tP00042\t9606\n"
  text = (
      "The forward primer was 5'-ATGGCCAAGCTTACGATCGA-3' and the probe GGATCCTTAGCATTCGA.\n\n"
      ">NP_1.1 a protein\nMKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ\nAPILSRVGDGTQDNLSGAEKAVQ\n\nORIGIN\n"
      "        1 atgaaaaccg cgtatattgc gaaacagcgt taa\n       34 acgatcgatc gatcgactag\n//\n"
      "Met-Lys-Thr-Ala-Tyr-Ile-Ala-Lys-Gln-Arg binds; see GATTACA and the CAT on the MAT.\n"
  )
  documents = [{"id": f"<urn:uuid:{i}>", "text": text, "url": "http://x", "language": "en"} for i in range(2)]
  lines = "".join(json.dumps(document) + "\n" for document in documents).encode()
  return {
      "gene_table": Target(run_gene_table, [(table, 2), (gzip.compress(table, mtime=0), 2)]),
      "collab": Target(run_collab, [(collab, 1)]),
      "tabular": Target(run_tabular, [(b'name\tx\tsequence\na\t1\tMKV\nb\t"\t\n', 2)]),
      "fineweb": Target(run_fineweb, [(lines, 2), (pyarrow.compress(lines, codec="zstd", asbytes=True), 2)]),
      "web_text": Target(run_web_text, [(text.encode(), 5)]),
  }


DOCUMENT_TARGETS = _targets()
