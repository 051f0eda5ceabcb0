"""Builds training rows from public files: sources to documents, documents to rows.

  python -m data_pipelines.build --config=configs/data/miniature.py --config.release=DIR --out=DIR

writes `OUT/documents/<corpus>/<version>/` (TFDS datasets in array_record), `OUT/documents/splits.npz` and
`OUT/rows/<row_set>/` (rows and `corpus.json`). What is complete and was made from the same config and files is kept.
Every part is written elsewhere and moved into place when it is whole; the tasks of a build that was stopped lie in
`OUT/.building`, so that it goes on behind the last finished one when the same command is run again.

The tasks run in this process, or on a Beam runner; `OUT` must then be a folder that all its workers mount (the README
has the flags of the others):

  --runner=DirectRunner --beam_options="--direct_running_mode=multi_processing --direct_num_workers=8"
  --runner=DaskRunner   --beam_options="--dask_client_address=HOST:8786 --dask_npartitions=64"
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from bsm_jax import tokenizer
from data_pipelines import corpora, documents, evaluation_sets, pack, row_sets, rows, views
from data_pipelines import sources as sources_lib
from data_pipelines.decontaminate import DecontaminationConfig
from data_pipelines.duplicates import MmseqsConfig
from data_pipelines.errors import InputError
from data_pipelines.genes import REASONS as READER_REASONS
from data_pipelines.near_duplicates import NearDuplicateConfig
from data_pipelines.pack import BuildError
from data_pipelines.report import table
from data_pipelines.splits import SPLITS, SplitConfig
from data_pipelines.tasks import IN_PROCESS, Workers
from data_pipelines.web_interleaved import WebConfig

CREATED_BY = f"data_pipelines.build {corpora.VERSION}"
_WORK = ".building"
_RUNNERS = {"DaskRunner": "apache_beam.runners.dask.dask_runner.DaskRunner"}  # Beam does not know it by its name


class ConfigError(ValueError):
  """A config that says nothing that can be built."""


@dataclasses.dataclass(frozen=True)
class BuildConfig:
  """The config as the build uses it.

  Attributes:
    context: tokens in a row.
    sources: files to read.
    documents: what becomes a document, and the splits.
    row_sets: name to row set.
  """

  context: int
  sources: list[sources_lib.Source]
  documents: documents.DocumentsConfig
  row_sets: dict[str, row_sets.RowSet]

  @classmethod
  def parse(cls, config: Mapping[str, Any]) -> "BuildConfig":
    """From the dictionary that a file under configs/data makes.

    Keys: `context`, `seed` (of row sets that have none of their own), `sources` (see `sources.py`), `documents` (see
    `documents.DocumentsConfig`), `row_sets` (see `row_sets.RowSet` and its subclasses), and text, such as a folder,
    that paths in `sources` may refer to as `{key}`.

    Raises:
      ConfigError, EvaluationSetError, SourceError, RowSetError: naming the entry and what it may be.
      InputError: a source's file does not exist.
    """
    if not config.get("row_sets"):
      raise ConfigError("config.row_sets is empty: name at least one row set")
    chosen = dict(config.get("documents", {}))
    for key, kind in _SECTIONS.items():
      if chosen.get(key):
        _dataclass(kind, chosen[key], f"config.documents.{key}")
    variables = {k: v for k, v in config.items() if v is None or isinstance(v, str)}
    context, seed = config["context"], config.get("seed", 0)
    if chosen.get("evaluation_sets"):
      chosen["evaluation_sets"] = evaluation_sets.parse_evaluation_sets(chosen["evaluation_sets"], variables)
    parsed = {
        name: row_sets.parse_row_set(name, {"seed": seed} | dict(spec), context)
        for name, spec in config["row_sets"].items()
    }
    for name, row_set in parsed.items():
      if row_set.like and row_set.like not in parsed:
        raise ConfigError(f"row set {name}: like={row_set.like!r} is no row set; there are {', '.join(parsed)}")
    return cls(
        context=context,
        sources=sources_lib.parse_sources(config["sources"], variables),
        documents=_dataclass(documents.DocumentsConfig, chosen, "config.documents"),
        row_sets=parsed,
    )


_SECTIONS = {
    "splits": SplitConfig, "decontamination": DecontaminationConfig, "near_duplicates": NearDuplicateConfig,
    "mmseqs": MmseqsConfig, "web": WebConfig,
}


def _dataclass(kind: type, values: Mapping[str, Any], where: str) -> Any:
  known = [f.name for f in dataclasses.fields(kind)]
  if unknown := sorted(set(values) - set(known)):
    raise ConfigError(f"{where}: no such key: {', '.join(unknown)}; it may have {', '.join(known)}")
  try:
    return kind(**values)
  except ValueError as error:
    raise ConfigError(f"{where}: {error}") from None


def build(
    config: BuildConfig, out: str | os.PathLike, *, overwrite: bool = False, runner: str = IN_PROCESS,
    beam_options: Sequence[str] = (),
) -> None:
  """Builds all documents and row sets of a config.

  Args:
    config: what to build.
    out: the output folder.
    overwrite: build anew what is there from another config or other files.
    runner, beam_options: see `tasks.Workers`.

  Raises:
    InputError: a source cannot be used.
    BuildError: `out` holds something built from another config, another build is writing there, or the disk is full.
  """
  out = pathlib.Path(out)
  out.mkdir(parents=True, exist_ok=True)
  with _work_folder(out) as work:
    workers = Workers(out / _WORK, _RUNNERS.get(runner, runner), beam_options)
    try:
      documents_from = _build_documents(config, out, work, workers, overwrite)
      _build_rows(config, documents_from, out, work, workers, overwrite)
    except Exception as error:
      if not isinstance(error, BuildError) and (full := pack.disk_error(error, out)) is not None:
        raise full from error
      raise
    shutil.rmtree(out / _WORK)
  print(_summary(config, out))


@contextlib.contextmanager
def _work_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
  """A temporary folder on the same disk, under a lock; what a killed build was about to move is removed first."""
  with open(out / ".lock", "w", encoding="ascii") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise BuildError(f"{out}: another build is writing here. Wait for it, or choose another --out.") from None
    work = out / _WORK / "moving"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
      yield work
    finally:
      shutil.rmtree(work, ignore_errors=True)
      with contextlib.suppress(OSError):  # it holds finished tasks
        work.parent.rmdir()


def _build_documents(
    config: BuildConfig, out: pathlib.Path, work: pathlib.Path, workers: Workers, overwrite: bool
) -> dict:
  described = [s.as_dict() for s in config.sources]
  made_from = {
      "config": dataclasses.asdict(config.documents) | {"evaluation_sets": [
          entry | {"path": [{"name": os.path.basename(p), "sha256": sources_lib.sha256(p)} for p in entry["path"]]}
          for entry in config.documents.evaluation_sets
      ]},
      "sources": sources_lib.describe(config.sources, dataclasses.replace(workers, work=work)),
      "source_options": {s["name"]: {k: v for k, v in s.items() if k not in ("name", "files")} for s in described},
      "version": corpora.VERSION,
  }
  wanted = []
  for corpus in sorted({r.corpus for r in config.row_sets.values()}):
    target = out / "documents" / corpus / corpora.VERSION
    if _is_done(f"documents of {corpus}", target, target / "metadata.json", made_from, overwrite):
      print(f"documents of {corpus}: complete, nothing to do")
    else:
      wanted.append(corpus)
  if wanted:
    built = work / "documents"
    built.mkdir()
    documents.build(config.sources, config.documents, workers, built, wanted, made_from)
    (out / "documents").mkdir(exist_ok=True)
    os.replace(built / "splits.npz", out / "documents" / "splits.npz")
    for corpus in wanted:
      _move(built / corpus / corpora.VERSION, out / "documents" / corpus / corpora.VERSION, work)
  return made_from


def _build_rows(
    config: BuildConfig, documents_from: dict, out: pathlib.Path, work: pathlib.Path, workers: Workers, overwrite: bool
) -> None:
  identity = hashlib.sha256(json.dumps(documents_from, sort_keys=True).encode()).hexdigest()
  jobs = []
  for name, row_set in config.row_sets.items():
    made_from = {
        "row_set": dataclasses.asdict(row_set), "context": config.context, "documents": identity,
        "vocabulary_hash": tokenizer.vocabulary_hash(), "version": corpora.VERSION,
    }
    target = out / "rows" / name
    if _is_done(f"rows of {name}", target, target / "corpus.json", made_from, overwrite):
      print(f"rows of {name}: complete, nothing to do")
    else:
      folder = work / "rows" / name
      jobs.append(rows.Job(name, row_set, config.context, out / "documents", folder, made_from, CREATED_BY))
  if jobs:
    for job, made in zip(jobs, rows.build(jobs, workers)):
      _move(job.folder, out / "rows" / job.name, work)
      total = sum(s["rows"] for s in made["splits"].values())
      print(f"rows of {job.name}: {total:,} rows", flush=True)


def _is_done(what: str, target: pathlib.Path, description: pathlib.Path, made_from: dict, overwrite: bool) -> bool:
  """Whether `target` was made from the same; raises BuildError where it was made from something else."""
  if not target.exists():
    return False
  before = json.loads(description.read_text())["made_from"] if description.exists() else {}
  differences = _differences(before, json.loads(json.dumps(made_from)))
  if differences and not overwrite:
    listed = "\n  ".join(differences[:10]) + (f"\n  and {len(differences) - 10} more" if len(differences) > 10 else "")
    raise BuildError(
        f"{target}: {what} are there, but were built from something else:\n  {listed}\n"
        "Choose another --out, or pass --overwrite to build them anew."
    )
  return not differences


def _differences(before: Any, now: Any, key: str = "") -> list[str]:
  """`key: before -> now` for every leaf in which two JSON values differ."""
  if isinstance(before, dict) and isinstance(now, dict):
    keys = sorted(set(before) | set(now))
    return [d for k in keys for d in _differences(before.get(k), now.get(k), f"{key}.{k}" if key else k)]
  if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
    return [d for i, (b, n) in enumerate(zip(before, now)) for d in _differences(b, n, f"{key}[{i}]")]
  return [] if before == now else [f"{key}: {json.dumps(before)[:200]} -> {json.dumps(now)[:200]}"]


def _move(made: pathlib.Path, target: pathlib.Path, work: pathlib.Path) -> None:
  target.parent.mkdir(parents=True, exist_ok=True)
  if target.exists():
    os.rename(target, tempfile.mkdtemp(dir=work))  # renaming onto an empty folder replaces it
  os.rename(made, target)


def _summary(config: BuildConfig, out: pathlib.Path) -> str:
  """What the build holds, what was dropped and why, and what to run next."""
  corpus_rows, reject_rows, row_rows, dropped_rows = [], [], [], []
  reasons = READER_REASONS | documents.REASONS
  for corpus in sorted({r.corpus for r in config.row_sets.values()}):
    found = json.loads((out / "documents" / corpus / corpora.VERSION / "metadata.json").read_text())
    rejected = {reason: r["count"] for reason, r in found["rejects"].items()}
    corpus_rows.append([corpus, found["records"], sum(rejected.values())] + [found["documents"][s] for s in SPLITS])
    dropped = found.get("dropped_stretches", {})
    reject_rows += [[f"{corpus}: {reason}", n, reasons[reason]] for reason, n in rejected.items()]
    letters = found.get("dropped_letters", {})
    reject_rows += [
        [f"{corpus}: stretch {reason}", r["count"], f"{reasons[reason]}: {letters[reason]:,} letters"]
        for reason, r in dropped.items()
    ]
  for name in config.row_sets:
    found = json.loads((out / "rows" / name / "corpus.json").read_text())
    for split, s in found["splits"].items():
      letters = [s["letters_by_modality"][m.name.lower()] for m in tokenizer.Modality]
      row_rows.append([f"{name} {split}", s["documents"], s["rows"], s["tokens"], *letters, f"{s['fill']:.1%}"])
    dropped_rows += [[f"{name}: {reason}", r["count"], views.REASONS[reason]] for reason, r in found["dropped"].items()]
  parts = [table(["corpus", "records in", "rejected", *SPLITS], corpus_rows)]
  if reject_rows:
    parts.append(table(["rejected", "records", "meaning"], reject_rows))
  parts.append(table(["rows", "documents", "rows", "tokens", "dna", "rna", "protein", "fill"], row_rows))
  if dropped_rows:
    parts.append(table(["not shown in rows", "times", "meaning"], dropped_rows))
  return "\n\n".join(parts)


def _next_command(data_config: str, trained_by: str | None, out: pathlib.Path) -> str:
  """How to train on the rows: with the config that the data's config names as `trained_by`, else `configs/NAME.py` for
  `configs/data/NAME.py` where there is one."""
  twin = pathlib.Path(data_config).parent.parent / pathlib.Path(data_config).name
  config = trained_by or (twin if twin.exists() else "configs/bsm_110m.py")
  return f"python -m bsm_jax.train --config={config} --config.data.root={out / 'rows'} --workdir=DIR"


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unexpected argument: {argv[1]}")
  started, values = time.monotonic(), flags.FLAGS
  logging.set_verbosity(logging.WARNING)  # TFDS reports every step
  try:
    build(
        BuildConfig.parse(values.config.to_dict()), values.out, overwrite=values.overwrite, runner=values.runner,
        beam_options=shlex.split(values.beam_options),
    )
  except (
      InputError, BuildError, ConfigError, evaluation_sets.EvaluationSetError, row_sets.RowSetError,
      sources_lib.SourceError,
  ) as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
  data_config = config_flags.get_config_filename(values["config"])
  print(f"\nDone in {time.monotonic() - started:.0f} s. Next, train on the rows:")
  print(f"  {_next_command(data_config, values.config.get('trained_by'), pathlib.Path(values.out))}")


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "What to build: a file under configs/data.")
  flags.DEFINE_string("out", None, "Where documents and rows go; made where it does not exist.")
  flags.DEFINE_bool("overwrite", False, "Build anew what was built from another config or other files.")
  flags.DEFINE_string("runner", IN_PROCESS, "What runs the tasks: in_process, or a Beam runner's name.")
  flags.DEFINE_string("beam_options", "", "Flags of the Beam runner, in one string.")
  flags.mark_flags_as_required(["config", "out"])
  app.run(main)
