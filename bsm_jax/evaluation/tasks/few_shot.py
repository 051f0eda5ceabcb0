"""Few-shot Central Dogma: does a model that is shown k genes beside their proteins tell a right pair from a wrong one?

The score of a test pair is the mean log-probability of its protein's letters, given k demonstrations and its gene; the
pair is called right where that is above a threshold, the one of best accuracy on the dev split with k demonstrations
each. k goes from 0 to as many as fit the context, without any tuning of parameters. The control has the same
demonstrations with their proteins exchanged among them: what it gains with k, it gains from seeing more sequences of
the organism, and not from pairs. Prompts are those of a versioned layout (`evaluation/demonstrations.py`).
"""

import csv
import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tqdm
from etils import epath

from bsm_jax import inference
from bsm_jax.evaluation import demonstrations, dms, metrics, results
from bsm_jax.evaluation.demonstrations import Demonstrations, Layout, Pair
from bsm_jax.evaluation.tasks.task import Settings, TaskError
from bsm_jax.inference.loaded import Model

VERSION = "mean log-probability of the test protein's letters, threshold by dev accuracy, v1"
_SHUFFLED = "shuffled_"


def fit_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
  """The threshold of best accuracy where what lies above it is called 1: between two scores, or outside all.

  Of several that are as good the middle one is taken.

  Args:
    scores: float [n], finite.
    labels: 0 or 1 [n].
  """
  order = np.argsort(scores, kind="stable")
  ordered, right = scores[order], labels[order]
  # Below the i-th threshold lie i scores, called 0.
  correct = np.r_[0, np.cumsum(right == 0)] + np.r_[np.cumsum((right == 1)[::-1])[::-1], 0]
  edges = np.r_[-np.inf, (ordered[:-1] + ordered[1:]) / 2, np.inf]
  # No threshold lies between equal scores.
  correct[1:-1][ordered[:-1] == ordered[1:]] = -1
  best = np.flatnonzero(correct == correct.max())
  return float(edges[best[len(best) // 2]])


def prompt(layout: Layout, shown: Sequence[tuple[str, str]], joined: str) -> list[inference.Document]:
  """Demonstrations and, last, the test pair as documents: a single one, or one for each pair."""
  pairs = [((layout.gene, codons), ("protein", residues)) for codons, residues in shown]
  return pairs if joined == "documents" else [tuple(part for pair in pairs for part in pair)]


def protein_scores(
    model: Model, layout: Layout, joined: str, prompts: Sequence[Sequence[tuple[str, str]]],
    names: Sequence[str], progress: Callable[[int], object] = lambda letters: None,
) -> np.ndarray:  # fmt: skip
  """Mean log-probability of the letters of each prompt's last protein, float64 [prompts].

  Args:
    model: what `inference.load` gives.
    layout: of the prompts.
    joined: `document` or `documents`.
    prompts: shown parts of demonstrations and, last, of the test pair.
    names: for error messages.
    progress: called with numbers of letters.
  """
  rows = [prompt(layout, shown, joined) for shown in prompts]
  if joined == "documents":
    found = inference.likelihoods_behind(model, rows, names=names, progress=progress)
  else:
    found = inference.likelihoods(model, [row[0] for row in rows], cut=False, names=names, progress=progress)
  return np.array([np.mean(one.parts[-1], dtype=np.float64) for one in found])


def _by_gene(pairs: Sequence[Pair]) -> list[np.ndarray]:
  """Numbers of the pairs of each gene: what a bootstrap draws, since pairs of a gene share their demonstrations."""
  found: dict[str, list[int]] = {}
  for number, pair in enumerate(pairs):
    found.setdefault(pair.gene, []).append(number)
  return list(map(np.array, found.values()))


@dataclasses.dataclass(frozen=True)
class FewShot:
  """Few-shot classification of pairs of a gene and a protein.

  Attributes:
    name: of the task.
    file: of the pairs (`demonstrations.read_pairs`).
    layout: name and version of the prompts' layout.
    published: where the data are to be had.
    columns: names of columns that are not called as `demonstrations.read_pairs` calls them.
    notes: what a reader must know.
  """

  name: str
  file: str
  layout: str
  published: str
  columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
  notes: tuple[str, ...] = ()
  kind = "few_shot"

  @property
  def version(self) -> str:
    return f"{VERSION}, layout {self.layout}"

  def files(self, data_root: str, settings: Settings) -> list[str]:
    return [self.file]

  def run(self, model: Model, data_root: str, settings: Settings) -> results.Result:
    layout = demonstrations.read_layout(self.layout)
    joined = layout.join
    if joined == "trained":
      joined = "documents" if model.attend_across_documents else "document"
    most = layout.room(model.context, joined)
    if most < 0:
      raise TaskError(f"layout {self.layout}: {layout.codons} codons do not fit a context of {model.context} tokens")
    path = str(dms.locate(data_root, self.file))
    pairs, counts = demonstrations.read_pairs(path, layout, self.columns, settings.seed)
    split = {
        name: demonstrations.sample([p for p in pairs if p.split == name and p.is_asked], settings.limit, settings.seed)
        for name in demonstrations.SPLITS
    }
    for name, chosen in split.items():
      if len({pair.label for pair in chosen}) < 2:
        raise TaskError(f"{path}: the {name} split has not both right and wrong pairs of {layout.codons} codons")
      counts |= {f"{name}_pairs": len(chosen), f"{name}_genes": len({pair.gene for pair in chosen}),
                 f"{name}_right": sum(pair.label for pair in chosen)}
    scored = [pair for chosen in split.values() for pair in chosen]
    given = demonstrations.draw(pairs, scored, most, settings.seed)
    counts["most_demonstrations"] = most
    scores = self._scores(model, layout, joined, scored, given, most)
    figures, intervals = _figures(split["dev"], split["test"], scores, most, settings)
    notes = [f"Demonstrations are joined as {joined}, each pair shown as {layout.codons} codons and their residues.",
             "Demonstrations are true pairs of the dev split, of the test pair's group and of other genes."]
    if settings.limit:
      notes.append(f"Some {settings.limit} pairs of each split, drawn by seed {settings.seed}: a sample's figures.")
    return results.Result(
        task=self.name, version=self.version, metrics=figures, intervals=intervals, counts=counts, seed=settings.seed,
        data=results.about_data({self.file: path}),
        truncation={"policy": f"every pair is shown by {layout.codons} codons and their residues; shorter ones are left"
                              " out", "share": 1.0},
        settings={**dataclasses.asdict(settings), "layout": dataclasses.asdict(layout), "joined": joined},
        notes=(*notes, *self.notes), **results.about_model(model),
    )  # fmt: skip

  def _scores(
      self, model: Model, layout: Layout, joined: str, pairs: Sequence[Pair], given: Mapping[str, Demonstrations],
      most: int,
  ) -> dict[str, np.ndarray]:  # fmt: skip
    """Scores of the pairs with each number of demonstrations, by `k0`, `k1`, `shuffled_k1`, …"""
    asked = {f"k{k}": [[*given[p.gene].take(k), p.shown] for p in pairs] for k in range(most + 1)}
    asked |= {f"{_SHUFFLED}k{k}": [[*given[p.gene].shuffled(k), p.shown] for p in pairs] for k in range(1, most + 1)}
    names = [f"{pair.gene} ({pair.kind or pair.label})" for pair in pairs]
    found = {}
    with tqdm.tqdm(asked.items(), desc=self.name, leave=False, disable=None) as bar:
      for setting, prompts in bar:
        bar.set_postfix_str(setting)
        found[setting] = protein_scores(model, layout, joined, prompts, names)
    return found

  def draw(self, result: results.Result, folder: str | epath.Path) -> list[str]:
    """`TASK.png` and `TASK.csv`: accuracy and AUC over demonstrations, beside the control. Returns their paths."""
    return _draw(result, epath.Path(folder))


def _figures(
    dev: Sequence[Pair], test: Sequence[Pair], scores: Mapping[str, np.ndarray], most: int, settings: Settings
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
  """Metrics and intervals. Args: scores are of the dev pairs and then of the test pairs."""
  labels = {name: np.array([pair.label for pair in pairs]) for name, pairs in (("dev", dev), ("test", test))}
  genes = _by_gene(test)
  figures, intervals, correct = {}, {}, {}

  def add(name: str, figure: Callable[[np.ndarray], float]) -> None:
    """A figure of the test pairs of these numbers."""
    of_genes = lambda drawn: figure(np.concatenate([genes[gene] for gene in drawn]))
    figures[name] = figure(np.arange(len(test)))
    intervals[name] = metrics.bootstrap_interval(
        of_genes, np.arange(len(genes)), resamples=settings.resamples, seed=settings.seed
    )

  for setting, found in scores.items():
    of_dev, of_test = np.split(found, [len(dev)])
    threshold = fit_threshold(of_dev, labels["dev"])
    figures[f"threshold/{setting}"] = threshold
    correct[setting] = (of_test > threshold) == labels["test"]
    add(f"accuracy_{setting}", lambda rows, right=correct[setting]: float(right[rows].mean()))
    add(f"auc/{setting}", lambda rows, of=of_test: metrics.auc(labels["test"][rows], of[rows]))
  for k in range(1, most + 1):
    gain = correct[f"k{k}"].astype(float) - correct[f"{_SHUFFLED}k{k}"]
    add(f"gain_over_shuffled/k{k}", lambda rows, gain=gain: float(gain[rows].mean()))
  # The figure that stands beside the paper's: with as many demonstrations as fit.
  figures["accuracy"], intervals["accuracy"] = figures[f"accuracy_k{most}"], intervals[f"accuracy_k{most}"]
  return figures, intervals


def _draw(result: results.Result, folder: epath.Path) -> list[str]:
  from bsm_jax import report  # matplotlib is slow to start, and only figures need it

  plt = report.plt
  most = result.counts["most_demonstrations"]
  columns = ["figure", "demonstrations", "shuffled", "value", "low", "high"]
  rows = [
      [figure, k, int(bool(control)), result.metrics[name], *result.intervals[name]]
      for figure, prefix in (("accuracy", "accuracy_"), ("AUC", "auc/"))
      for control in ("", _SHUFFLED)
      for k in range(bool(control), most + 1)
      for name in [f"{prefix}{control}k{k}"]
  ]
  with (folder / f"{result.task}.csv").open("w") as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
  drawn, grid = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", sharey=True)
  drawn.suptitle(f"{result.task}: {results.model_name(result)}", x=0.01, ha="left", fontsize=11, fontweight="bold")
  for axes, figure in zip(grid, ("accuracy", "AUC")):
    for control, (legend, style) in enumerate((("demonstrations", "-"), ("their proteins exchanged", (0, (5, 1.5))))):
      points = np.array([row[1:2] + row[3:] for row in rows if row[0] == figure and row[2] == control], float)
      if not len(points):
        continue
      k, value, low, high = points.T
      axes.fill_between(k, low, high, color=report.COLOURS[control], alpha=0.18, linewidth=0)
      axes.plot(k, value, color=report.COLOURS[control], linestyle=style, marker="o", markersize=4, label=legend)
    axes.axhline(0.5, color="0.7", linewidth=0.8, zorder=0)
    axes.set(xlabel="demonstrations", title=f"{figure} on test, 95 % interval", xticks=range(most + 1))
    axes.spines[["top", "right"]].set_visible(False)
  grid[0].legend(frameon=False, fontsize=9)
  return [report.save(drawn, folder / f"{result.task}.png"), str(folder / f"{result.task}.csv")]
