"""Readers side by side: ours, Biopython's and, where they are installed, pyfastx and pysam; run by hand.

  python -m tests.benchmarks.parsers --genbank=x_genomic.gbff.gz --fasta=y.faa.gz --fasta=z.fna.gz --work=DIR
  python -m tests.benchmarks.parsers --megabytes=10,100,1000 --repeats=1                     # memory by size of input

Inputs are the given files (else those of a simulated release) repeated to each size; they are deleted at the end. Every
measurement is a process of its own (on Linux), and the readers take turns. Printed are processor seconds (median), the
factor to the first reader (of the same turn; least and greatest), megabytes of uncompressed input a second, and peak
memory, of which some 45 MB are the libraries.
"""

import gzip
import importlib
import importlib.util
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

from absl import app, flags
from Bio import SeqIO
from Bio.Data.CodonTable import TranslationError
from Bio.SeqIO.FastaIO import SimpleFastaParser

from data_pipelines import miniature
from data_pipelines.formats import fasta, genbank

GENBANK = {
    "bsm genes, verified": "read_genbank",
    "biopython records": "biopython_genbank",
    "biopython genes, translated": "biopython_genes",
}
FASTA = {
    "bsm": "read_fasta",
    "biopython SimpleFastaParser": "biopython_simple",
    "biopython SeqIO": "biopython_fasta",
    "pyfastx": "pyfastx",
    "pysam": "pysam",
}
_OPTIONAL = ("pyfastx", "pysam")


def read_genbank(path: str) -> int:
  return sum(1 for _ in genbank.read_genbank(path))


def _open_text(path: str):
  return gzip.open(path, "rt") if path.endswith(".gz") else open(path)


def biopython_genbank(path: str) -> int:
  with _open_text(path) as stream:
    return sum(sum(feature.type == "CDS" for feature in record.features) for record in SeqIO.parse(stream, "genbank"))


def biopython_genes(path: str) -> int:
  """What a gene takes with Biopython: extract the CDS, translate it, compare it with the annotated protein."""
  equal = 0
  with _open_text(path) as stream:
    for record in SeqIO.parse(stream, "genbank"):
      for feature in record.features:
        if feature.type == "CDS" and "translation" in feature.qualifiers:
          try:
            protein = feature.translate(record.seq, cds=True)
          except TranslationError:
            continue
          equal += protein == feature.qualifiers["translation"][0]
  return equal


def read_fasta(path: str) -> int:
  return sum(1 for _ in fasta.read_fasta(path))


def biopython_simple(path: str) -> int:
  with _open_text(path) as stream:
    return sum(1 for _ in SimpleFastaParser(stream))


def biopython_fasta(path: str) -> int:
  with _open_text(path) as stream:
    return sum(1 for _ in SeqIO.parse(stream, "fasta"))


def pyfastx(path: str) -> int:
  return sum(1 for _ in importlib.import_module("pyfastx").Fastx(path))


def pysam(path: str) -> int:
  # Its records are made anew at each step; the sequence is asked for, as the others give it.
  return sum(len(record.sequence) > 0 for record in importlib.import_module("pysam").FastxFile(path))


def _measure(reader: str, path: str) -> dict:
  """Reads the file in a process of its own."""
  command = [sys.executable, "-m", "tests.benchmarks.parsers", f"--reader={reader}", f"--path={path}"]
  return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _read(reader: str, path: str) -> None:
  function = globals()[reader]
  warnings.simplefilter("ignore")
  if reader in _OPTIONAL:
    importlib.import_module(reader)
  start = time.process_time()
  count = function(path)
  seconds = time.process_time() - start
  # Not ru_maxrss: what the process that started this one used would count, too.
  peak = re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())
  print(json.dumps({"count": count, "seconds": seconds, "peak": int(peak[1]) / 1024}))


def _compare(title: str, readers: dict[str, str], path: pathlib.Path, megabytes: float, repeats: int) -> None:
  missing = [name for name in _OPTIONAL if not importlib.util.find_spec(name)]
  readers = {name: reader for name, reader in readers.items() if reader not in missing}
  turns = [{name: _measure(reader, str(path)) for name, reader in readers.items()} for _ in range(repeats)]
  print(f"\n{title}, {megabytes:.0f} MB")
  for name in readers:
    seconds = [turn[name]["seconds"] for turn in turns]
    factors = [turn[name]["seconds"] / turn[next(iter(readers))]["seconds"] for turn in turns]
    peak, count = max(turn[name]["peak"] for turn in turns), turns[0][name]["count"]
    print(
        f"  {name:<28} {statistics.median(seconds):8.2f} s   x{statistics.median(factors):5.2f}"
        f" ({min(factors):.2f}-{max(factors):.2f})   {megabytes / statistics.median(seconds):7.1f} MB/s"
        f"   peak {peak:6.0f} MB   {count:,} items",
        flush=True,
    )


def _repeated(source: pathlib.Path, megabytes: int, out: pathlib.Path) -> float:
  """Writes the file's content as often as it takes; returns the size in megabytes."""
  data = gzip.decompress(source.read_bytes()) if source.suffix == ".gz" else source.read_bytes()
  data = data if data.endswith(b"\n") else data + b"\n"
  with open(out, "wb") as stream:
    for _ in range(max(1, round(megabytes * 1e6 / len(data)))):
      stream.write(data)
  return out.stat().st_size / 1e6


def _simulated(work: pathlib.Path) -> tuple[list[str], list[str]]:
  folder = miniature.write_release(work / "release").path
  find = lambda suffix: [str(path) for path in sorted(folder.rglob(f"*{suffix}.gz")) if "_from_" not in path.name][:1]
  return find("_genomic.gbff"), find("_protein.faa") + find("_genomic.fna")


def main(argv: list[str]) -> None:
  del argv
  values = flags.FLAGS
  if values.reader:
    _read(values.reader, values.path)
    return
  work = pathlib.Path(tempfile.mkdtemp(dir=values.work))
  try:
    flat, letters = values.genbank, values.fasta
    if not flat and not letters:
      flat, letters = _simulated(work)
    for megabytes in map(int, values.megabytes):
      for readers, sources in ((GENBANK, flat), (FASTA, letters)):
        for source in map(pathlib.Path, sources):
          path = work / "input"
          size = _repeated(source, megabytes, path)
          _compare(source.name, readers, path, size, values.repeats)
          if values.gzip:
            with open(path, "rb") as plain, gzip.open(work / "input.gz", "wb", compresslevel=6) as packed:
              shutil.copyfileobj(plain, packed)
            _compare(f"{source.name}, gzip", readers, work / "input.gz", size, values.repeats)
  finally:
    shutil.rmtree(work)


if __name__ == "__main__":
  flags.DEFINE_multi_string("genbank", [], "GenBank files, plain or gzip")
  flags.DEFINE_multi_string("fasta", [], "FASTA files, plain or gzip")
  flags.DEFINE_list("megabytes", ["10"], "sizes of input")
  flags.DEFINE_integer("repeats", 5, "turns", lower_bound=1)
  flags.DEFINE_bool("gzip", False, "also the same input compressed")
  flags.DEFINE_string("work", None, "where inputs are written; a temporary folder where none is named")
  flags.DEFINE_string("reader", None, "set by the command itself")
  flags.DEFINE_string("path", None, "set by the command itself")
  app.run(main)
