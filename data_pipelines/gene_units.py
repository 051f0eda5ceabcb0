"""Gene Related Sequences as a source of units: the steps before reading, as tasks, and the units' genes."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from data_pipelines import gene_records, gene_related, gene_rows
from data_pipelines.formats import ranges
from data_pipelines.gene_related import GeneRelatedConfig
from data_pipelines.genes import CodingGene, Reject
from data_pipelines.tasks import Task, Workers, result

ROWS_PER_UNIT = 200_000  # of the tables; some hundred MB of records
_KINDS = {"records": "genbank", "nucleotides": "nucleotide", "proteins": "protein"}


def parts(
    files: Mapping[str, Sequence[str]], config: GeneRelatedConfig, unit_bytes: int, workers: Workers
) -> list[dict]:
  """Chooses the tables' rows and extracts what the record files hold for them; returns the arguments of `read_part`.

  Args:
    files: role (`tables`, `collab`, `records`, `nucleotides`, `proteins`) to its files.
    config: what is chosen.
    unit_bytes: FASTA files that can be divided are read in parts of this size.
    workers: run the tasks.
  """
  resources = {"memory_limit": config.memory_limit, "threads": config.threads}
  everything = [path for paths in files.values() for path in paths]
  changed = [[os.stat(path).st_size, os.stat(path).st_mtime_ns] for path in everything]
  collab = files.get("collab", ())
  (rows,) = workers.run("rows of the gene tables", [Task(select_rows, resources | {
      "tables": list(files["tables"]), "collab": collab[0] if collab else None, "taxa": list(config.taxa),
      "statuses": list(config.statuses), "headerless": config.headerless, "changed": changed,
  })])
  tasks = []
  for role, kind in _KINDS.items():
    for path in files.get(role, ()):
      cuts = [(0, None)] if kind == "genbank" else ranges.cuts(path, unit_bytes)
      tasks += [
          Task(extract, resources | {
              "path": path, "kind": kind, "rows": str(rows), "start": start, "stop": stop, "changed": changed,
          }, os.path.basename(path)) for start, stop in cuts
      ]
  fragments = [str(folder) for folder in workers.run("records of the gene tables", tasks)]
  buckets = max(1, -(-result(rows)["rows"] // ROWS_PER_UNIT))
  shared = {"rows": str(rows), "fragments": fragments, "buckets": buckets, "config": dataclasses.asdict(config)}
  return [shared | {"bucket": bucket} for bucket in range(buckets)]


def select_rows(folder: pathlib.Path, *, changed: Sequence, **arguments) -> dict:
  """`gene_rows.select_rows` as a task; with files of another size or time of change it is another one."""
  del changed
  return gene_rows.select_rows(folder, **arguments)


def extract(folder: pathlib.Path, *, changed: Sequence, **arguments) -> dict:
  """`gene_records.extract` as a task, likewise."""
  del changed
  return gene_records.extract(folder, **arguments)


def read_part(part: Mapping) -> Iterator[CodingGene | Reject]:
  """The documents and rejected rows of one unit."""
  lists = {key: tuple(value) for key, value in part["config"].items() if isinstance(value, list)}
  config = GeneRelatedConfig(**part["config"] | lists)
  yield from gene_related.merge(
      part["rows"], part["fragments"], config=config, bucket=part["bucket"], buckets=part["buckets"]
  )
