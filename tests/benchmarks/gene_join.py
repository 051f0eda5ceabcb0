"""What the join of Gene Related Sequences costs: seconds and peak memory of each step on a synthetic table.

  python -m tests.benchmarks.gene_join --rows=20000000

Writes a gene2accession of so many rows (gzip, five rows a gene: two of RefSeq, an mRNA, a genomic record, a protein),
record files for the first `--records` genes, and runs every step in a process of its own, at each limit of memory. The
files are deleted at the end; they need some 60 bytes a row in the temporary folder.

Measured for 20,000,000 rows, of which 12,000,000 are chosen, and 200,000 genes with records (seconds of two cores
together): selecting 48 s and 457 MB, of one taxon 11 s and 323 MB; a GenBank file of 200,000 mRNAs 37 s and 371 MB; as
many proteins 7 s and 289 MB; merging a sixteenth of the genes 7 s and 168 MB.
"""

import gzip
import itertools
import multiprocessing
import pathlib
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator

from data_pipelines import gene_records, gene_related, gene_rows, report

_TAXA = 200
_HEADER = (
    "#tax_id\tGeneID\tstatus\tRNA_nucleotide_accession.version\tRNA_nucleotide_gi\tprotein_accession.version"
    "\tprotein_gi\tgenomic_nucleotide_accession.version\tgenomic_nucleotide_gi"
    "\tstart_position_on_the_genomic_accession\tend_position_on_the_genomic_accession\torientation\tassembly"
    "\tmature_peptide_accession.version\tmature_peptide_gi\tSymbol\n"
)
_CODONS = ("GCT", "TGT", "GAT", "GAA", "TTT", "GGT", "CAT", "ATT", "AAA", "CTG", "AAC", "CCA", "CAG", "CGT", "TCT")
_RESIDUES = "ACDEFGHIKLNPQRS"


def _lines(rows: int) -> Iterator[str]:
  genes = -(-rows // 5)
  for gene in range(1, genes + 1):
    start, end = f"{1000 + gene * _TAXA // (genes + 1)}\t{gene}", f"-\t-\tG{gene}\n"
    chromosome = f"NC_{gene // 3000:06d}.1\t-\t{gene * 9}\t{gene * 9 + 999}"
    yield f"{start}\tREVIEWED\tNM_{gene:09d}.1\t-\tNP_{gene:09d}.1\t-\t{chromosome}\t+\tPrimary\t{end}"
    yield f"{start}\t-\tAK{gene:08d}.1\t{gene}\tBAA{gene:08d}.1\t{gene}\t-\t-\t-\t-\t?\t-\t{end}"
    yield f"{start}\t-\t-\t-\tCAA{gene:08d}.2\t{gene}\tAC{gene // 100:08d}.3\t{gene}\t-\t-\t?\t-\t{end}"
    yield f"{start}\t-\t-\t-\tP{gene:08d}.2\t{gene}\t-\t-\t-\t-\t?\t-\t{end}"
    yield f"{start}\tMODEL\tXM_{gene:09d}.1\t-\tXP_{gene:09d}.1\t-\t{chromosome}\t-\tPrimary\t{end}"


def _write_table(path: pathlib.Path, rows: int) -> None:
  with gzip.open(path, "wt", compresslevel=1) as stream:
    stream.write(_HEADER)
    lines = itertools.islice(_lines(rows), rows)
    while batch := list(itertools.islice(lines, 50_000)):
      stream.write("".join(batch))


def _write_records(folder: pathlib.Path, genes: int) -> None:
  """An mRNA record of GenBank and a FASTA protein for each of the first genes."""
  rng = random.Random(0)
  pool = []
  for _ in range(64):
    choice = rng.choices(range(len(_CODONS)), k=300)
    cds = "".join(_CODONS[i] for i in choice).lower()
    pool.append(("M" + "".join(_RESIDUES[i] for i in choice), f"atg{cds}taa"))
  with open(folder / "records.gb", "w") as flat, open(folder / "proteins.faa", "w") as proteins:
    for gene in range(1, genes + 1):
      protein, cds = pool[gene % len(pool)]
      proteins.write(f">sp|P{gene:08d}|X_Y A protein OS=X OX=1000 PE=1 SV=2\n{protein}\n")
      flat.write(
          f"LOCUS       AK{gene:08d} {len(cds):>11} bp    mRNA    linear   PRI 01-JAN-2000\n"
          f"VERSION     AK{gene:08d}.1\n"
          f"FEATURES             Location/Qualifiers\n     CDS             1..{len(cds)}\n"
          f'{" " * 21}/protein_id="BAA{gene:08d}.1"\n{" " * 21}/translation="{protein}"\nORIGIN\n{cds}\n//\n'
      )


def _select(folder: pathlib.Path, table: str, **options) -> str:
  stats = gene_rows.select_rows(folder, tables=[table], **options)
  return f"{stats['rows']:,} rows chosen"


def _extract(folder: pathlib.Path, path: str, kind: str, rows: str, memory_limit: str) -> str:
  stats = gene_records.extract(folder, path=path, kind=kind, rows=rows, memory_limit=memory_limit)
  return f"{stats['records']:,} records, {sum(stats['fragments'].values()):,} fragments"


def _merge(folder: pathlib.Path, rows: str, fragments: list[str], buckets: int) -> str:
  counts: dict[str, int] = {}
  config = gene_related.GeneRelatedConfig()
  for _ in gene_related.merge(rows, fragments, config=config, buckets=buckets, counts=counts):
    pass
  return f"{counts['rows']:,} rows, {counts['documents']:,} documents"


def _measure(connection, function: Callable[..., str], folder: pathlib.Path, arguments: dict) -> None:
  start = time.perf_counter()
  found = function(folder, **arguments)
  seconds, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
  connection.send((seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, found))


def _run(function: Callable[..., str], folder: pathlib.Path, **arguments) -> tuple[float, float, float, str]:
  """Seconds, those of all cores, peak memory in MB and findings of a call in a new process."""
  folder.mkdir()
  context = multiprocessing.get_context("spawn")
  ours, theirs = context.Pipe()
  process = context.Process(target=_measure, args=(theirs, function, folder, arguments))
  process.start()
  theirs.close()
  try:
    return ours.recv()
  finally:
    process.join()


def main(rows: int, records: int, memory_limits: list[str], buckets: int) -> None:
  lines = []
  with tempfile.TemporaryDirectory() as temporary:
    work = pathlib.Path(temporary)
    table = work / "gene2accession.gz"
    _write_table(table, rows)
    _write_records(work, records)
    print(f"{rows:,} rows, {table.stat().st_size / 1e6:,.0f} MB of gzip; peak memory is the process's", flush=True)
    for limit in memory_limits:
      chosen, one = work / f"rows-{limit}", work / f"one-{limit}"
      genbank, proteins = work / f"genbank-{limit}", work / f"proteins-{limit}"
      steps = {
          "select, all taxa": (_select, chosen, {"table": str(table), "memory_limit": limit}),
          "select, one taxon": (_select, one, {"table": str(table), "memory_limit": limit, "taxa": (1100,)}),
          "extract GenBank": (_extract, genbank, {"path": str(work / "records.gb"), "kind": "genbank",
                                                  "rows": str(chosen), "memory_limit": limit}),
          "extract proteins": (_extract, proteins, {"path": str(work / "proteins.faa"), "kind": "protein",
                                                    "rows": str(chosen), "memory_limit": limit}),
          f"merge, 1 of {buckets} buckets": (_merge, work / f"merge-{limit}", {
              "rows": str(chosen), "fragments": [str(genbank), str(proteins)], "buckets": buckets}),
      }  # fmt: skip
      for name, (function, folder, arguments) in steps.items():
        seconds, cores, memory, found = _run(function, folder, **arguments)
        lines.append([limit, name, f"{seconds:.1f} s", f"{cores:.1f} s", f"{memory:,.0f} MB", found])
  print(report.table(["DuckDB's limit", "step", "time", "of all cores", "peak memory", "found"], lines))


if __name__ == "__main__":
  from absl import app, flags

  ROWS = flags.DEFINE_integer("rows", 20_000_000, "Rows of the table.")
  RECORDS = flags.DEFINE_integer("records", 200_000, "Genes that have records.")
  MEMORY = flags.DEFINE_list("memory_limits", ["1GB"], "DuckDB's limits of memory.")
  BUCKETS = flags.DEFINE_integer("buckets", 16, "Into how many buckets the merge is cut.")
  app.run(lambda _: main(ROWS.value, RECORDS.value, MEMORY.value, BUCKETS.value))
