"""Figures of a comparison: metrics over tokens trained, accuracy over demonstrations; each as PNG and CSV."""

import csv
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath
from matplotlib import patheffects
from matplotlib import pyplot as plt

from bsm_jax import report
from bsm_jax.comparison.groups import CompareError, Group

_LINE_STYLES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
# Metrics of few-shot evaluation: task, and number of demonstrations.
_FEW_SHOT = re.compile(r"fewshot/(.+)/k(\d+)")
SINGLE_MODAL = {
    "DNA": "valid/single_dna/dna", "RNA": "valid/single_rna/rna", "protein": "valid/single_protein/protein",
}  # fmt: skip


class Drawn(NamedTuple):
  """A figure that was drawn: its title, what a reader must know of it, and its PNG."""

  title: str
  caption: str
  png: str


class Point(NamedTuple):
  """One place on the axis: values of the runs that have one there."""

  x: int
  values: list[float]


def parse_figures(texts: Sequence[str]) -> dict[str, dict[str, str]]:
  """Figures from `TITLE=METRIC[,METRIC...]`: title -> {panel: metric}.

  Raises:
    CompareError: a text is not of this form, or two figures would have one file.
  """
  figures: dict[str, dict[str, str]] = {}
  for text in texts:
    title, _, metrics = (part.strip() for part in text.partition("="))
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    if not title or not names:
      raise CompareError(f"--figure={text}: give a title and metrics, as --figure='DNA=valid/single_dna/dna'")
    figures[title] = {name: name for name in names}
  _refuse_same_files(figures)
  return figures


def _refuse_same_files(titles: Sequence[str]) -> None:
  files: dict[str, str] = {}
  for title in titles:
    name = report.file_name(title)
    if not name:
      raise CompareError(f"the figure {title!r} has no letter a-z or digit to make a file name of: add one")
    if name in files:
      raise CompareError(f"the figures {files[name]!r} and {title!r} would both be {name}.png: rename one")
    files[name] = title


def choose_figures(groups: Sequence[Group], wanted: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
  """What to draw: title -> {panel: metric}.

  As wanted; else the loss on single-modal data by modality (arXiv 2410.11499, Figures 1 and 6); where no run has that,
  the figures that the configs name.

  Raises:
    CompareError: no run has a metric that is wanted, or none has anything to draw.
  """
  known = set().union(*(group.metrics for group in groups))
  if wanted:
    for title, panels in wanted.items():
      if missing := [metric for metric in panels.values() if metric not in known]:
        raise CompareError(f"--figure={title}: no run has {', '.join(missing)}; there are {', '.join(sorted(known))}")
    return {title: dict(panels) for title, panels in wanted.items()}
  named = {"Validation loss on single-modal data": SINGLE_MODAL}
  if not known & set(SINGLE_MODAL.values()):
    named = {t: p for group in groups for t, p in group.runs[0].config.get("figures", {}).items()}
  found = {title: {p: metric for p, metric in panels.items() if metric in known} for title, panels in named.items()}
  found = {title: panels for title, panels in found.items() if panels}
  if not found and not _tasks(groups):
    raise CompareError("no run has a validation loss yet: wait for the first evaluation, or name metrics with --figure;"
                       f" there are {', '.join(sorted(known))}")
  _refuse_same_files(found)
  return found


def unit(metric: str) -> str:
  """What a metric of `bsm_jax.train` is measured in; "" where it is not known."""
  if metric.rpartition("/")[2] == "loss":
    return "nats a target"
  if metric.startswith(("valid/", "train/")):
    return "bits a token" if metric.endswith("/special") else "bits a residue"
  return "accuracy" if metric.startswith("fewshot/") else ""


def curve(group: Group, metric: str) -> list[Point]:
  """The metric over tokens trained."""
  curves = [run.curve(metric) for run in group.runs]
  steps = sorted({step for one in curves for step in one})
  per_step = group.schedule.tokens_per_step
  return [Point(step * per_step, [one[step] for one in curves if step in one]) for step in steps]


def _style(number: int) -> dict:
  return {"color": report.COLOURS[number % len(report.COLOURS)], "linestyle": _LINE_STYLES[number % len(_LINE_STYLES)]}


def _legend(group: Group) -> str:
  count = len(group.runs)
  runs = f"{count} run{'s' if count > 1 else ''}"
  unfinished = [run.last_step for run in group.runs if not run.finished]
  if unfinished:
    reached = " to ".join(f"{step:,}" for step in sorted({min(unfinished), max(unfinished)}))
    runs += f"; {len(unfinished)} unfinished, at step {reached} of {group.schedule.total_steps:,}"
  return f"{group.label} ({runs})"


def _plot(axes, points: Sequence[Point], group: Group, number: int, scale: float, marker: str | None) -> None:
  """Mean as a line, lowest to highest as a band; where runs are still missing the line is thin."""
  if not points:
    return
  x = np.array([point.x for point in points]) / scale
  mean = np.array([np.mean(point.values) for point in points])
  low, high = (np.array([end(point.values) for point in points]) for end in (min, max))
  axes.fill_between(x, low, high, color=_style(number)["color"], alpha=0.18, linewidth=0)
  whole = np.array([len(point.values) == len(group.runs) for point in points])
  # The thin parts begin and end at a point of the thick ones.
  missing = np.pad(~whole, 1)
  partial = missing[:-2] | missing[1:-1] | missing[2:]
  marker = "o" if len(points) == 1 else marker
  for shown, width in ((whole, 1.8), (partial, 0.8)):
    axes.plot(x, np.where(shown, mean, np.nan), **_style(number), linewidth=width, marker=marker, markersize=4)


def _mark_rounds(axes, groups: Sequence[Group], scale: float) -> None:
  """A line and a name where each round begins: grey for rounds that groups share, else in the group's colour."""
  by_starts: dict[tuple, list[int]] = {}
  for number, group in enumerate(groups):
    plan = group.schedule
    starts = tuple((step * plan.tokens_per_step, r.name) for step, r in zip(plan.starts, plan.rounds))
    by_starts.setdefault(starts, []).append(number)
  for level, (starts, numbers) in enumerate(by_starts.items()):
    shared = len(numbers) > 1 or len(groups) == 1
    colour = "0.45" if shared else _style(numbers[0])["color"]
    for tokens, name in starts:
      axes.axvline(tokens / scale, color=colour, alpha=0.45, linewidth=0.7, zorder=0)
      axes.annotate(name, (tokens / scale, 1), xycoords=("data", "axes fraction"), fontsize=7, color=colour,
                    rotation=90, va="top", xytext=(2, -2 - 40 * level), textcoords="offset points",
                    path_effects=[patheffects.withStroke(linewidth=2.5, foreground="white")])


def _limits(curves: Sequence[Sequence[Point]]) -> tuple[float, float]:
  """The range of what was measured after the first tenth of the tokens, where arms differ by hundredths of a bit.

  Above it is room for the names of the rounds.
  """
  points = [point for one in curves for point in one]
  last = max(point.x for point in points)
  late = [value for point in points if point.x >= 0.1 * last for value in point.values]
  low, high = min(late), max(late)
  margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
  return low - margin, high + 4 * margin


def _scale(tokens: int) -> tuple[float, str]:
  for size, name in ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands")):
    if tokens >= size:
      return size, f"tokens trained ({name})"
  return 1.0, "tokens trained"


def _panels(title: str, count: int, groups: Sequence[Group]):
  """A figure with a row of panels for each three, and the groups' legend under its title."""
  columns = min(count, 3)
  rows = -(-count // columns)
  figure, grid = plt.subplots(
      rows, columns, figsize=(max(4.1 * columns, 6), 0.9 + 3.2 * rows), squeeze=False, layout="constrained"
  )
  figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
  handles = [plt.Line2D([], [], **_style(n), linewidth=1.8, label=_legend(g)) for n, g in enumerate(groups)]
  figure.legend(handles=handles, loc="outside lower left", ncols=4, frameon=False, fontsize=9, handlelength=3.2)
  for axes in grid.flat[count:]:
    axes.set_visible(False)
  for axes in grid.flat:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
  return figure, grid.flat[:count]


def _write(folder: epath.Path, title: str, figure, caption: str, columns: Sequence[str], rows: Sequence[list]) -> Drawn:
  name = report.file_name(title)
  with (folder / f"{name}.csv").open("w") as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
  return Drawn(title, caption, report.save(figure, folder / f"{name}.png"))


def _row(point: Point) -> list:
  return [point.x, len(point.values), float(np.mean(point.values)), min(point.values), max(point.values)]


def draw_curves(title: str, panels: Mapping[str, str], groups: Sequence[Group], folder: epath.Path) -> Drawn:
  """`TITLE.png` and `TITLE.csv`: each metric in a panel, over tokens trained."""
  budget = max(group.schedule.total_steps * group.schedule.tokens_per_step for group in groups)
  curves = {metric: [curve(group, metric) for group in groups] for metric in panels.values()}
  scale, label = _scale(budget)
  figure, grid = _panels(title, len(panels), groups)
  rows = []
  for axes, (name, metric) in zip(grid, panels.items()):
    for number, (group, points) in enumerate(zip(groups, curves[metric])):
      _plot(axes, points, group, number, scale, None)
      rows += [[metric, group.label, *_row(point)] for point in points]
    _mark_rounds(axes, groups, scale)
    axes.set_ylim(*_limits(curves[metric]))
    axes.set_xlim(0, 1.01 * budget / scale)
    axes.set_title(name, fontsize=10)
    axes.set_xlabel(label, fontsize=9)
    axes.set_ylabel(unit(metric), fontsize=9)
  caption = (
      "Line: mean over seeds, thin where not every run of the group has got to. Band: lowest to highest. Upright lines:"
      " where rounds begin. The first tenth of the tokens may lie above the panel, so that small differences show."
  )
  columns = ["metric", "group", "tokens", "runs", "mean", "lowest", "highest"]
  return _write(folder, title, figure, caption, columns, rows)


def _tasks(groups: Sequence[Group]) -> dict[str, dict[int, str]]:
  """Few-shot tasks that runs were evaluated on: task -> {number of demonstrations: metric}."""
  tasks: dict[str, dict[int, str]] = {}
  for metric in set().union(*(group.metrics for group in groups)):
    if match := _FEW_SHOT.fullmatch(metric):
      tasks.setdefault(match[1], {})[int(match[2])] = metric
  return {task: dict(sorted(tasks[task].items())) for task in sorted(tasks)}


def draw_few_shot(groups: Sequence[Group], folder: epath.Path) -> Drawn | None:
  """`few_shot.png` and `few_shot.csv`: accuracy over demonstrations, a panel a task; None where no run has any."""
  tasks = _tasks(groups)
  if not tasks:
    return None
  figure, grid = _panels("Few shot", len(tasks), groups)
  rows = []
  for axes, (task, metrics) in zip(grid, tasks.items()):
    for number, group in enumerate(groups):
      points = []
      for demonstrations, metric in metrics.items():
        curves = [run.curve(metric) for run in group.runs]
        newest = [one[max(one)] for one in curves if one]
        if newest:
          points.append(Point(demonstrations, newest))
      _plot(axes, points, group, number, 1.0, "o")
      rows += [[task, group.label, *_row(point)] for point in points]
    axes.set_xticks(list(metrics))
    axes.set_title(task, fontsize=10)
    axes.set_xlabel("demonstrations", fontsize=9)
    axes.set_ylabel("accuracy", fontsize=9)
  columns = ["task", "group", "demonstrations", "runs", "mean", "lowest", "highest"]
  caption = "Accuracy at each run's newest evaluation. Line: mean over seeds. Band: lowest to highest."
  return _write(folder, "Few shot", figure, caption, columns, rows)


def draw(chosen: Mapping[str, Mapping[str, str]], groups: Sequence[Group], folder: epath.Path) -> list[Drawn]:
  """Every figure of a comparison: those chosen, and few-shot accuracy where runs have it."""
  with plt.rc_context({"text.parse_math": False}):  # A dollar sign in a label is no formula.
    drawn = [draw_curves(title, panels, groups, folder) for title, panels in chosen.items()]
    few_shot = draw_few_shot(groups, folder)
  return drawn + ([few_shot] if few_shot else [])
