"""Draws a run's curves: `python -m bsm_jax.report --workdir=DIR` writes `DIR/figures/*.png` and `curves.csv`.

The panels are those that the run's config names (`figures`: title -> {legend: metric}), and the training loss.
"""

import csv
import json
import os
import re
import sys

import matplotlib
from absl import app, flags
from etils import epath

from bsm_jax.training import metrics as metrics_lib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  (the backend must be chosen first)

# A palette that stays apart for colour-blind readers (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


class ReportError(ValueError):
  """A run directory that cannot be drawn."""


def curve(lines: list[dict], metric: str) -> tuple[list[int], list[float]]:
  """Steps and values of one metric."""
  points = [(line["step"], line[metric]) for line in lines if metric in line]
  return [p[0] for p in points], [p[1] for p in points]


def round_borders(lines: list[dict]) -> list[tuple[int, str]]:
  """(first step seen, name) of each round, in order."""
  borders: dict[str, int] = {}
  for line in lines:
    if line["kind"] == "train":
      borders.setdefault(line["round"], line["step"])
  return [(step, name) for name, step in borders.items()]


def _panel(axes, lines: list[dict], title: str, curves: dict[str, str], unit: str) -> None:
  for (legend, metric), colour in zip(curves.items(), COLOURS * (1 + len(curves) // len(COLOURS))):
    steps, values = curve(lines, metric)
    axes.plot(steps, values, label=legend, color=colour, linewidth=1.6)
  for step, name in round_borders(lines):
    axes.axvline(step, color="0.8", linewidth=0.8, zorder=0)
    axes.annotate(name, (step, 1), xycoords=("data", "axes fraction"), fontsize=7, color="0.5",
                  xytext=(2, -8), textcoords="offset points")
  axes.set(title=title, xlabel="step", ylabel=unit)
  axes.set_ylim(bottom=0)
  axes.spines[["top", "right"]].set_visible(False)
  axes.legend(frameon=False, fontsize=8)


def draw(workdir: str | os.PathLike) -> list[str]:
  """Draws every panel of a run.

  Returns:
    Paths of the PNG files, one a panel and `overview.png` with all of them.

  Raises:
    ReportError: the folder holds no run, or no metrics yet.
  """
  workdir = epath.Path(workdir)
  if not (workdir / "config.json").exists():
    raise ReportError(f"{workdir} is no run directory (it has no config.json): give the --workdir of a training run")
  lines = [line for line in metrics_lib.read_metrics(workdir) if line["kind"] != "start"]
  if not lines:
    raise ReportError(f"{workdir / 'metrics.jsonl'} has no lines yet: let the run log a few steps first")
  config = json.loads((workdir / "config.json").read_text())
  known = {name for line in lines for name in line}
  panels = [("Training loss", {"all targets": "loss"}, "nats a target")]
  for title, curves in config["figures"].items():
    found = {legend: metric for legend, metric in curves.items() if metric in known}
    if found:
      panels.append((title, found, "bits a residue"))

  folder = workdir / "figures"
  folder.mkdir(parents=True, exist_ok=True)
  paths = []
  overview, grid = plt.subplots(1, len(panels), figsize=(5 * len(panels), 3.8), squeeze=False, layout="constrained")
  for axes, (title, curves, unit) in zip(grid[0], panels):
    _panel(axes, lines, title, curves, unit)
    figure, single = plt.subplots(figsize=(5.5, 4), layout="constrained")
    _panel(single, lines, title, curves, unit)
    paths.append(save(figure, folder / f"{file_name(title)}.png"))
  paths.append(save(overview, folder / "overview.png"))
  with (folder / "curves.csv").open("w") as file:
    table = csv.writer(file)
    table.writerow(["metric", "step", "value"])
    for metric in sorted(known - {"step", "kind", "round"}):
      table.writerows([metric, step, value] for step, value in zip(*curve(lines, metric)))
  return paths


def file_name(title: str) -> str:
  """A title as the name of a file, without its ending; "" where nothing of it can be used."""
  return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")


def save(figure, path: epath.Path) -> str:
  """Writes a figure as PNG, closes it, and gives the path."""
  with path.open("wb") as file:
    figure.savefig(file, dpi=150, format="png")
  plt.close(figure)
  return str(path)


def last_values(workdir: str | os.PathLike) -> list[tuple[str, float, float]]:
  """(metric, first value, last value) of every validation metric in bits."""
  lines = [line for line in metrics_lib.read_metrics(workdir) if line["kind"] == "valid"]
  found = {name for line in lines for name in line if name.startswith("valid/")}
  names = sorted(name for name in found if not name.endswith(("/loss", "/special")))
  values = {name: curve(lines, name)[1] for name in names}
  return [(name, v[0], v[-1]) for name, v in values.items()]


def main(argv) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
  try:
    paths = draw(flags.FLAGS.workdir)
  except ReportError as error:
    sys.exit(f"error: {error}")
  print(f"{'bits a residue':<48}{'first':>8}{'last':>8}")
  for name, first, last in last_values(flags.FLAGS.workdir):
    print(f"{name:<48}{first:>8.3f}{last:>8.3f}")
  print("Figures:\n  " + "\n  ".join(paths))


if __name__ == "__main__":
  flags.DEFINE_string("workdir", None, "Run directory of `bsm_jax.train`.", required=True)
  app.run(main)
