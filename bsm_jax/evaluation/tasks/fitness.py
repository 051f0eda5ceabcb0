"""Zero-shot fitness: does the likelihood of a variant rank with how fit it was measured to be?

Scores are those of `bsm_jax.evaluation.variants`. The figure of an assay is Spearman's correlation of them with what
was measured; each benchmark says how assays are put together.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bsm_jax.evaluation import dms, metrics, results, variants
from bsm_jax.evaluation.dms import Assay
from bsm_jax.evaluation.tasks.task import Settings, TaskError
from bsm_jax.inference.loaded import Model
from bsm_jax.tokenizer import Modality


class Listed(NamedTuple):
  """An assay of a benchmark: its name, its file, and what reads it by path and rules."""

  name: str
  file: str
  read: Callable[[str, dms.Rules], Assay]


# What is computed of an assay: its name, and a function of the assay and the scores.
Figures = Mapping[str, Callable[[Assay, np.ndarray], float]]
_SPEARMAN: Figures = {"spearman": lambda assay, found: metrics.spearman(assay.scores, found)}


@dataclasses.dataclass(frozen=True)
class FitnessTask(abc.ABC):
  """Zero-shot fitness over assays; subclasses are the benchmarks.

  Attributes:
    name: of the task.
    version: of the protocol.
    published: where the data are to be had.
    inputs: of `variants.INPUTS`.
    notes: what a reader must know.
  """

  name: str
  version: str
  published: str
  inputs: str
  notes: tuple[str, ...] = ()
  kind = "fitness"
  figures = _SPEARMAN
  list_file = None

  @abc.abstractmethod
  def listed(self, data_root: str) -> list[Listed]:
    """All assays of the benchmark. Raises FileNotFoundError or AssayError of the file that lists them."""

  @abc.abstractmethod
  def combine(
      self, found: Mapping[str, Mapping[str, float]], data_root: str, seed: int, draws: Mapping[str, Callable]
  ) -> tuple[dict, dict, dict]:
    """Figures of assays to those of the benchmark.

    Args:
      found: by figure, by assay.
      data_root: folder of data.
      seed: of a bootstrap over assays.
      draws: by assay, what gives bootstrap draws of Spearman over its variants.

    Returns:
      metrics, intervals and counts.
    """

  def rules(self, asked: dms.Rules) -> dms.Rules:
    """For rows that are not clean, if the owners' code has its own."""
    return asked

  def chosen(self, data_root: str, settings: Settings) -> list[Listed]:
    """Those assays that are asked for. Raises TaskError for a name that is none."""
    listed = self.listed(data_root)
    if not settings.assays:
      return listed
    if unknown := sorted(set(settings.assays) - {assay.name for assay in listed}):
      raise TaskError(f"{self.name} has no assay {', '.join(unknown)}; it has {', '.join(a.name for a in listed)}")
    return [assay for assay in listed if assay.name in settings.assays]

  def files(self, data_root: str, settings: Settings) -> list[str]:
    of_list = [self.list_file] if self.list_file else []
    try:
      return of_list + [assay.file for assay in self.chosen(data_root, settings)]
    except FileNotFoundError:
      return of_list

  def run(self, model: Model, data_root: str, settings: Settings) -> results.Result:
    chosen = self.chosen(data_root, settings)
    paths = {name: str(dms.locate(data_root, name)) for name in self.files(data_root, settings)}
    assays = [assay.read(paths[assay.file], self.rules(settings.rules)) for assay in chosen]
    counts: dict[str, int] = {"assays": len(assays), "variants": 0}
    found: dict[str, dict[str, float]] = {name: {} for name in self.figures}
    draws, p_values, touched = {}, {}, 0
    for assay in assays:  # all are read by now: a damaged one is told before an hour's work
      assay = _draw(assay, settings, counts)
      values, long = variants.scores(model, assay, self.inputs, settings.reduce)
      touched += int(long.sum())
      counts["variants"] += len(values)
      for what, number in assay.counts.items():
        counts[what] = counts.get(what, 0) + number
      for name, figure in self.figures.items():
        found[name][assay.name] = figure(assay, values)
      p_values[f"p_value/{assay.name}"] = metrics.correlation_p_value(found["spearman"][assay.name], len(values))
      draws[assay.name] = functools.partial(
          metrics.bootstrap, metrics.spearman, assay.scores, values, resamples=settings.resamples, seed=settings.seed
      )
    figures, intervals, more = self.combine(found, data_root, settings.seed, draws)
    of_assays = {f"{name}/{assay}": value for name, by in found.items() for assay, value in by.items()}
    notes = [f"Log-likelihood as the {settings.reduce} over the letters of {self.inputs!r}.", *self.notes]
    if settings.assays:
      asked = ", ".join(settings.assays)
      notes.append(f"Only the assays {asked} were asked for: these are not the benchmark's figures.")
    if settings.limit:
      notes.append(f"At most {settings.limit} variants of an assay, drawn by seed {settings.seed}: a sample's figures.")
    return results.Result(
        task=self.name, version=self.version, metrics=figures | of_assays | p_values, intervals=intervals,
        counts=counts | more, seed=settings.seed, data=results.about_data(paths),
        truncation={"policy": variants.POLICY, "share": touched / counts["variants"]},
        settings={"inputs": self.inputs, **dataclasses.asdict(settings)}, notes=tuple(notes),
        **results.about_model(model),
    )  # fmt: skip


def _draw(assay: Assay, settings: Settings, counts: dict[str, int]) -> Assay:
  if settings.limit is None or settings.limit >= len(assay.variants):
    return assay
  rows = np.sort(np.random.default_rng(settings.seed).choice(len(assay.variants), settings.limit, replace=False))
  counts["variants not drawn"] = counts.get("variants not drawn", 0) + len(assay.variants) - len(rows)
  return dataclasses.replace(assay, variants=tuple(assay.variants[row] for row in rows))


@dataclasses.dataclass(frozen=True)
class Panel(FitnessTask):
  """Named assays, the plain mean of whose Spearman correlations is the figure (Evo's panel).

  Attributes:
    assays: in their order.
  """

  assays: tuple[Listed, ...] = ()

  def listed(self, data_root: str) -> list[Listed]:
    return list(self.assays)

  def combine(self, found, data_root, seed, draws):
    of = found["spearman"]
    drawn = {name: make() for name, make in draws.items()}
    intervals = {f"spearman/{name}": metrics.interval(values) for name, values in drawn.items()}
    intervals["spearman"] = metrics.interval(np.mean(list(drawn.values()), axis=0))
    return {"spearman": float(np.mean(list(of.values())))}, intervals, {}


def proteingym_average(
    by_assay: Mapping[str, float], reference: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, list[float]], dict[str, float]]:
  """ProteinGym's aggregation of substitution assays (`performance_DMS_benchmarks.py`).

  A figure is rounded to three decimals, then averaged over the assays of a protein and selection type, then over the
  proteins of a type; the benchmark's is the mean over types. A nan is left out, as pandas does.

  Args:
    by_assay: a figure by `DMS_id`.
    reference: `dms.proteingym_reference`.

  Returns:
    by selection type the proteins' means, and the types' means.
  """
  groups: dict[tuple[str, str], list[float]] = {}
  for name, value in by_assay.items():
    row = reference[name]
    groups.setdefault((row["coarse_selection_type"], row["UniProt_ID"]), []).append(np.round(value, 3))
  proteins: dict[str, list[float]] = {}
  for (kind, _), values in sorted(groups.items()):
    proteins.setdefault(kind, []).append(_known_mean(values))
  return proteins, {kind: _known_mean(values) for kind, values in proteins.items()}


def rnagym_average(
    by_assay: Mapping[str, float], reference: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, list[float]], dict[str, float]]:
  """RNAGym's aggregation, v0.1.1: signed figures, averaged inside each category; the benchmark's is the mean over them.

  Args:
    by_assay: a figure by `DMS_ID`, of ribozymes, tRNAs and aptamers only.
    reference: `dms.rnagym_reference`.

  Returns:
    by category the assays' figures, and the categories' means.
  """
  groups: dict[str, list[float]] = {}
  for name, value in by_assay.items():
    groups.setdefault(reference[name]["RNA_TYPE"], []).append(value)
  return groups, {kind: _known_mean(values) for kind, values in groups.items()}


def _known_mean(values: Sequence[float]) -> float:
  known = [value for value in values if not np.isnan(value)]
  return float(np.mean(known)) if known else float("nan")


def _of_groups(found, aggregate, seed: int) -> tuple[dict, dict, dict]:
  """Benchmark figures from an aggregation, with an interval by drawing again in each group, if all have several."""
  figures, intervals = {}, {}
  for name, by_assay in found.items():
    groups, means = aggregate(by_assay)
    figures |= {name: _known_mean(list(means.values())), **{f"{name}/{kind}": mean for kind, mean in means.items()}}
    if name == "spearman" and min(map(len, groups.values())) > 1:
      drawn = [metrics.bootstrap(_known_mean, values, resamples=10_000, seed=seed) for values in groups.values()]
      intervals[name] = metrics.interval(np.mean(drawn, axis=0))
  return figures, intervals, {}


@dataclasses.dataclass(frozen=True)
class ProteinGym(FitnessTask):
  """ProteinGym's substitution assays (Notin et al. 2023).

  Attributes:
    list_file: its reference file.
    folder: of the assays.
  """

  list_file: str = "DMS_substitutions.csv"
  folder: str = "DMS_ProteinGym_substitutions"
  figures = {
      **_SPEARMAN,
      "auc": lambda assay, found: metrics.auc([v.fit for v in assay.variants], found),
      "mcc": lambda assay, found: metrics.median_mcc([v.fit for v in assay.variants], found),
      "ndcg": lambda assay, found: metrics.ndcg(assay.scores, found),
      "top_recall": lambda assay, found: metrics.top_recall(assay.scores, found),
  }

  def _reference(self, data_root: str):
    return dms.proteingym_reference(str(dms.locate(data_root, self.list_file)))

  def listed(self, data_root: str) -> list[Listed]:
    def reader(name, row):
      return lambda path, rules: dms.read_proteingym(path, name, row["target_seq"], rules)

    return [
        Listed(name, f"{self.folder}/{row['DMS_filename']}", reader(name, row))
        for name, row in self._reference(data_root).items()
    ]

  def combine(self, found, data_root, seed, draws):
    reference = self._reference(data_root)
    return _of_groups(found, lambda by_assay: proteingym_average(by_assay, reference), seed)


def _above_median(values: np.ndarray) -> np.ndarray:
  return (values > np.median(values)).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class RnaGym(FitnessTask):
  """RNAGym's fitness assays of ribozymes, tRNAs and aptamers, v0.1.1.

  Attributes:
    list_file: its reference sheet. Assays of other types (coding, splicing) are not part of the figure.
    folder: of the assays.
  """

  list_file: str = "reference_sheet_final.csv"
  folder: str = "assays"
  figures = {
      **_SPEARMAN,
      "auc": lambda assay, found: metrics.auc(_above_median(assay.scores), found),
      "mcc": lambda assay, found: metrics.mcc(_above_median(assay.scores), _above_median(found)),
  }
  CATEGORIES = ("Ribozyme", "tRNA", "Aptamer")

  def rules(self, asked: dms.Rules) -> dms.Rules:
    """RNAGym leaves rows without a score out, and keeps the first of duplicates."""
    return dms.Rules(missing="drop", duplicates="drop")

  def _reference(self, data_root: str):
    return dms.rnagym_reference(str(dms.locate(data_root, self.list_file)))

  def listed(self, data_root: str) -> list[Listed]:
    def reader(name):
      return lambda path, rules: dms.read_rnagym(path, name, Modality.RNA, rules)

    return [
        Listed(name, f"{self.folder}/{name}.csv", reader(name))
        for name, row in self._reference(data_root).items() if row["RNA_TYPE"] in self.CATEGORIES
    ]  # fmt: skip

  def combine(self, found, data_root, seed, draws):
    reference = self._reference(data_root)
    figures, intervals, _ = _of_groups(found, lambda by_assay: rnagym_average(by_assay, reference), seed)
    excluded = sum(row["RNA_TYPE"] not in self.CATEGORIES for row in reference.values())
    return figures, intervals, {"assays of other types, excluded": excluded}
