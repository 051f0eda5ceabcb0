"""Shows what is in a corpus: text in the terminal, figures as PNG, and one HTML page that needs no other file.

  python -m data_pipelines.inspect DIR

DIR is what `data_pipelines.build` wrote, or one of its row sets (`DIR/rows/NAME`), or one corpus of documents
(`DIR/documents/NAME`). Of large corpora a sample is read, evenly from all shards; what is counted in the corpus's own
descriptions is exact.
"""

import os
import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags, logging

from data_pipelines.errors import InputError
from data_pipelines.inspection import figures, layout, page, text
from data_pipelines.inspection import survey as survey_lib

PAGE = "inspection.html"


def inspect(
    folder: str | os.PathLike, out: str | os.PathLike, options: survey_lib.Options,
    taxonomy: str | os.PathLike | None = None,
) -> survey_lib.Survey:
  """Surveys a folder and writes the figures and the page.

  Args:
    folder: a build's output, a row set, or a corpus of documents.
    out: where to write; made where it does not exist.
    options: how much is read and shown.
    taxonomy: `names.dmp` of NCBI's taxdump, for the names of taxa; None shows their ids.

  Raises:
    InputError: there is nothing to inspect, it is damaged, or it is of another vocabulary.
  """
  found = survey_lib.survey(layout.find(folder), options, taxonomy)
  drawn = figures.draw_all(found)
  content = page.render(found, drawn)
  out = pathlib.Path(out)
  try:
    out.mkdir(parents=True, exist_ok=True)
    for figure in drawn:
      (out / f"{figure.name}.png").write_bytes(figure.png)
    (out / PAGE).write_text(content, encoding="utf-8")
  except OSError as error:
    raise InputError(out, f"cannot be written ({error.strerror})", "Choose another --out") from error
  return found


def main(argv: Sequence[str]) -> None:
  if len(argv) != 2:
    raise app.UsageError("give one folder: python -m data_pipelines.inspect DIR")
  values = flags.FLAGS
  logging.set_verbosity(logging.WARNING)  # TFDS reports every step
  out = pathlib.Path(values.out or pathlib.Path(argv[1]) / "inspection")
  options = survey_lib.Options(values.documents, values.max_rows, values.max_documents, values.seed)
  try:
    found = inspect(argv[1], out, options, values.taxonomy)
  except InputError as error:
    sys.exit(f"error: {error}")
  sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode shows the letters at least
  try:
    print(text.render(found, colour=text.wants_colour(sys.stdout)))
    print(f"Figures are in {out}. Next, open the page:\n  {out / PAGE}", flush=True)
  except BrokenPipeError:  # the reader, such as `head`, has seen enough: Python would complain at its exit
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
  flags.DEFINE_string("out", None, "Where figures and page go; DIR/inspection without it.")
  flags.DEFINE_integer("documents", 8, "Documents shown in colour, and as many rows.", lower_bound=0)
  flags.DEFINE_integer("max_rows", 20_000, "Most rows read of each row set and split.", lower_bound=1)
  flags.DEFINE_integer("max_documents", 20_000, "Most documents read of each corpus and split.", lower_bound=1)
  flags.DEFINE_integer("seed", 0, "Changes what is sampled and shown.")
  flags.DEFINE_string("taxonomy", None, "names.dmp of NCBI's taxdump: names of taxa in place of ids.")
  app.run(main)
