"""Everything that a report shows, gathered once: the text, the figures and the page draw the same numbers."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tqdm

from data_pipelines.errors import InputError
from data_pipelines.inspection import layout, names, reading, samples, statistics
from data_pipelines.splits import SPLITS
from data_pipelines.views import random_generator

MAX_BYTES = 1 << 28  # of documents read in one split: one can be a million letters


@dataclasses.dataclass(frozen=True)
class Options:
  """How much is read and shown.

  Attributes:
    documents: documents shown in colour, and as many rows.
    max_rows: most rows read of each row set and split.
    max_documents: most documents read of each corpus and split.
    seed: changes what is sampled and shown.
  """

  documents: int = 8
  max_rows: int = 20_000
  max_documents: int = 20_000
  seed: int = 0


@dataclasses.dataclass(frozen=True)
class Split:
  """How much of a split was read.

  Attributes:
    total: its documents or rows.
    read: how many of them were read.
    letters: letters by modality in all of them; estimates where not all were read and no description counts them.
    described_letters: letters in all, as the corpus's own description counts them; None where it does not.
  """

  total: int
  read: int
  letters: Mapping[str, float]
  described_letters: int | None

  @property
  def is_whole(self) -> bool:
    """Whether everything was read."""
    return self.read == self.total


@dataclasses.dataclass(frozen=True)
class Dropped:
  """What was left out for one reason.

  Attributes:
    where: the corpus and the metadata's name for the list, or the row set.
    reason: its code.
    count: how often.
    meaning: one line, "" where unknown.
    examples: the first few.
  """

  where: str
  reason: str
  count: int
  meaning: str
  examples: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Corpus:
  """The documents of one corpus.

  Attributes:
    name: the corpus.
    metadata: what the build counted.
    splits: split to how much of it there is.
    statistics: over all splits, weighted.
    dropped: records that are in no document.
  """

  name: str
  metadata: Mapping[str, Any]
  splits: Mapping[str, Split]
  statistics: statistics.SequenceStatistics
  dropped: tuple[Dropped, ...]


@dataclasses.dataclass(frozen=True)
class RowSet:
  """A row set.

  Attributes:
    name: the row set.
    description: its `corpus.json`.
    splits: split to how much of it there is.
    statistics: over all splits, weighted.
    dropped: what was asked for and is not shown.
  """

  name: str
  description: Mapping[str, Any]
  splits: Mapping[str, Split]
  statistics: statistics.RowStatistics
  dropped: tuple[Dropped, ...]


@dataclasses.dataclass(frozen=True)
class Survey:
  """All that is known of a folder.

  Attributes:
    title: the folder's name, or that of the one thing in it.
    corpora: of documents.
    row_sets: of rows.
    taxon_names: taxonomy id to scientific name; empty without `names.dmp`.
    shown_documents, shown_rows: chosen ones, laid out.
    warnings: what a reader has to know first.
  """

  title: str
  corpora: tuple[Corpus, ...]
  row_sets: tuple[RowSet, ...]
  taxon_names: Mapping[int, str]
  shown_documents: tuple[samples.Shown, ...]
  shown_rows: tuple[samples.Shown, ...]
  warnings: tuple[str, ...]

  @property
  def is_sampled(self) -> bool:
    """Whether some of it was not read."""
    return not all(s.is_whole for part in (*self.corpora, *self.row_sets) for s in part.splits.values())

  def taxon(self, taxon: int) -> str:
    """A taxon's name, or its id."""
    return self.taxon_names.get(taxon, f"taxon {taxon}" if taxon else "no taxon")

  def everything(self) -> statistics.SequenceStatistics:
    """The sequences of all corpora together; of all row sets, where there is no corpus."""
    parts = [c.statistics for c in self.corpora] or [r.statistics.sequences for r in self.row_sets]
    return statistics.combine_sequences(parts)

  def letters(self) -> dict[str, float]:
    """Letters by modality in all corpora; in all row sets, where there is no corpus."""
    splits = [s for part in self.corpora or self.row_sets for s in part.splits.values()]
    return {m: sum(s.letters[m] for s in splits) for m in splits[0].letters}

  def sources(self) -> list[dict]:
    """The files that it was built from, each once: source, role, name, sha256, bytes."""
    described = [c.metadata.get("made_from", {}).get("sources", []) for c in self.corpora]
    described += [r.description.get("sources", []) for r in self.row_sets]
    unique = {(s["source"], s["role"], s["name"], s["sha256"]): s for listed in described for s in listed}
    return list(unique.values())

  def dropped(self) -> list[Dropped]:
    """What was left out anywhere."""
    return [d for part in (*self.corpora, *self.row_sets) for d in part.dropped]


def survey(found: layout.Found, options: Options, taxonomy: str | os.PathLike | None = None) -> Survey:
  """Reads what `options` allow and measures it.

  Raises:
    InputError: a file is damaged, or `taxonomy` is no `names.dmp`.
  """
  corpora = [_corpus(d, options) for d in tqdm.tqdm(found.datasets, "documents", leave=False, disable=None)]
  row_sets = [_row_set(r, options) for r in tqdm.tqdm(found.row_sets, "rows", leave=False, disable=None)]
  warnings = [*found.warnings, *(w for c in corpora for w in _corpus_warnings(c))]
  warnings += [w for r in row_sets for w in _row_warnings(r)]
  taxa = {int(t) for c in corpora for t in np.unique(c.statistics.taxon)}
  parts = [*corpora, *row_sets]
  return Survey(
      title=parts[0].name if len(parts) == 1 else found.folder.resolve().name,
      corpora=tuple(corpora),
      row_sets=tuple(row_sets),
      taxon_names=names.read_taxonomy(taxonomy, taxa) if taxonomy else {},
      shown_documents=samples.choose_documents(found.datasets, options.documents, options.seed),
      shown_rows=samples.choose_rows(found.row_sets, options.documents, options.seed),
      warnings=tuple(warnings),
  )


def _ordered(splits: Iterable[str]) -> list[str]:
  return sorted(splits, key=lambda s: (SPLITS.index(s) if s in SPLITS else len(SPLITS), s))


def _dropped(where: str, stage: str, tally: Mapping[str, Mapping]) -> tuple[Dropped, ...]:
  listed = (
      Dropped(where, code, found["count"], names.meaning(code, stage), tuple(map(str, found.get("examples", ()))))
      for code, found in tally.items()
  )
  return tuple(sorted(listed, key=lambda d: -d.count))


# --- documents ---


def _corpus(dataset: layout.Dataset, options: Options) -> Corpus:
  parts, splits = [], {}
  for split in _ordered(dataset.splits):
    shards = dataset.splits[split]
    mean_bytes = dataset.info.splits[split].num_bytes / max(1, shards.total)
    most = max(1, min(options.max_documents, int(MAX_BYTES / max(1, mean_bytes))))
    rng = random_generator(options.seed, dataset.name, split, "documents")
    indices = statistics.sample_indices(shards.total, most, rng)
    measured = [statistics.measure_sequences(b) for b in reading.sequences(dataset, split, indices)]
    if measured:
      part = statistics.combine_sequences(measured).scaled(shards.total / len(indices))
      described = dataset.metadata.get("letters", {}).get(split)
      splits[split] = Split(shards.total, len(indices), part.letters_by_modality(), described)
      parts.append(part)
  if not parts:
    raise InputError(dataset.folder, "holds not one sequence", "Build it again, from sources that hold some")
  dropped = [
      d for key, value in dataset.metadata.items() if is_tally(value)
      for d in _dropped(f"{dataset.name}: {key.replace('_', ' ')}", dataset.name, value)
  ]
  return Corpus(dataset.name, dataset.metadata, splits, statistics.combine_sequences(parts), tuple(dropped))


def is_tally(value: Any) -> bool:
  """Whether an entry of the metadata is a `report.Tally`: reason to count and examples."""
  return isinstance(value, dict) and bool(value) and all(isinstance(v, dict) and "count" in v for v in value.values())


def ledger(corpus: Corpus) -> tuple[int, int, int] | None:
  """(records read, records used, records rejected), or None where the metadata do not count records."""
  if "records" not in corpus.metadata:
    return None
  used = corpus.metadata.get("records_used", sum(s.total for s in corpus.splits.values()))
  return corpus.metadata["records"], used, sum(r["count"] for r in corpus.metadata.get("rejects", {}).values())


def _corpus_warnings(corpus: Corpus) -> Iterable[str]:
  counts = ledger(corpus)
  if counts and counts[0] != counts[1] + counts[2]:
    yield (
        f"{corpus.name}: {counts[0]:,} records were read, but {counts[1]:,} are used and {counts[2]:,} rejected:"
        " some are unaccounted for"
    )
  for name, split in corpus.splits.items():
    found = sum(split.letters.values())
    if split.is_whole and split.described_letters not in (None, found):
      counted = f"its description counts {split.described_letters:,}"
      yield f"{corpus.name}, {name}: holds {found:,.0f} letters where {counted}"


# --- rows ---


def _row_set(row_set: layout.RowSetFiles, options: Options) -> RowSet:
  parts, splits = [], {}
  for split in _ordered(row_set.splits):
    total = row_set.splits[split].total
    rng = random_generator(options.seed, row_set.name, split, "rows")
    indices = statistics.sample_indices(total, options.max_rows, rng)
    measured, begin = [], 0
    for rows in reading.rows(row_set, split, indices):
      try:
        measured.append(statistics.measure_rows(rows))
      except statistics.RowContentError as error:
        remedy = "Run the build that made it again with --overwrite"
        record = f"row {indices[begin + error.row]}"
        raise InputError(row_set.folder / split, error.problem, remedy, record=record) from error
      begin += len(rows)
    parts.append(statistics.combine_rows(measured).scaled(total / len(indices)))
    letters = row_set.description["splits"][split]["letters_by_modality"]
    splits[split] = Split(total, len(indices), letters, sum(letters.values()))
  if not parts:
    raise InputError(row_set.folder, "holds not one row", "Build it again, from documents that hold some")
  dropped = _dropped(row_set.name, "views", row_set.description.get("dropped", {}))
  return RowSet(row_set.name, row_set.description, splits, statistics.combine_rows(parts), dropped)


def _row_warnings(row_set: RowSet) -> Iterable[str]:
  """Where every row was read and every letter has its tag, the counts have to be those of the description."""
  measured = row_set.statistics
  if not all(s.is_whole for s in row_set.splits.values()) or measured.untyped_letters:
    return
  found = measured.sequences.letters_by_modality()
  described = {m: sum(s.letters[m] for s in row_set.splits.values()) for m in found}
  if found != described:
    yield f"{row_set.name}: corpus.json counts other letters ({described}) than the rows hold ({found})"
