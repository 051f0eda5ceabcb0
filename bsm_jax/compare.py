"""Compares groups of runs, such as the arms of an experiment or sizes of a model: figures, tables, one HTML page.

  python -m bsm_jax.compare --group=mixed='RUNS/mixed_*' --group=single='RUNS/single_*' --out=OUT

A group is a label and the run directories (a glob, or several separated by commas) of runs that differ in the seed
alone. OUT gets

  report.html       everything below, the groups' settings and what they differ in; one file, to be sent on
  TITLE.png, .csv   a figure: mean over seeds and the range of them over tokens trained, a panel a metric
  few_shot.png, .csv    accuracy over demonstrations, where runs have metrics `fewshot/TASK/kN`
  values.tsv        mean and standard deviation over seeds at the end of each round and of training
  differences.tsv   difference of each pair of groups at the end of training, with 95 % intervals

and the tables are printed. Drawn by default is the validation loss on single-modal data by modality (arXiv 2410.11499,
Figures 1 and 6); `--figure='TITLE=METRIC,METRIC'`, as often as wanted, draws other metrics of `metrics.jsonl` instead.
Runs need not be finished: they are drawn as far as they got, and left out of the values at the end.
"""

import sys
from collections.abc import Sequence

from absl import app, flags
from etils import epath

from bsm_jax.comparison import figures, page, tables
from bsm_jax.comparison.groups import CompareError, caveats, read_groups


def compare(groups: Sequence[str], out: str, wanted: Sequence[str] = ()) -> str:
  """Writes the figures, tables and page of a comparison.

  Args:
    groups: `LABEL=GLOB[,GLOB...]` each.
    out: folder to write to, made if absent.
    wanted: figures, `TITLE=METRIC[,METRIC...]` each; none for the default.

  Returns:
    The tables and what to know about them, as Markdown.

  Raises:
    CompareError: runs that cannot be compared as asked; nothing is written then.
  """
  compared = read_groups(groups)
  chosen = figures.choose_figures(compared, figures.parse_figures(wanted))
  metrics = list(dict.fromkeys(metric for panels in chosen.values() for metric in panels.values()))
  known = caveats(compared, metrics)
  values, differences = tables.values(compared, metrics), tables.differences(compared, metrics)

  folder = epath.Path(out)
  folder.mkdir(parents=True, exist_ok=True)
  drawn = figures.draw(chosen, compared, folder)
  (folder / "values.tsv").write_text(values.as_tsv())
  (folder / "differences.tsv").write_text(differences.as_tsv())
  (folder / "report.html").write_text(page.render(compared, drawn, values, differences, known))

  parts = ["".join(f"- {caveat}\n" for caveat in known)] if known else []
  parts.append(values.as_markdown())
  if differences.rows:
    parts += [differences.as_markdown(), tables.ABOUT_DIFFERENCES + "\n"]
  return "\n".join(parts)


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}; quote globs, as --group=mixed='RUNS/mixed_*'")
  args = flags.FLAGS
  try:
    text = compare(args.group, args.out, args.figure)
  except CompareError as error:
    sys.exit(f"error: {error}")
  print(text)
  print(f"Figures, tables and {epath.Path(args.out) / 'report.html'} are written.")


if __name__ == "__main__":
  flags.DEFINE_multi_string("group", [], "LABEL=GLOB[,GLOB...]: run directories that differ in the seed alone.")
  flags.DEFINE_string("out", None, "Folder to write to.", required=True)
  flags.DEFINE_multi_string("figure", [], "TITLE=METRIC[,METRIC...]: a figure to draw instead of the default one.")
  app.run(main)
