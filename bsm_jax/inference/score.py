"""Log-likelihoods of sequences, as a table.

  python -m bsm_jax.inference.score --checkpoint=RUN --input=proteins.fasta --modality=protein --out=scores.tsv

A line a record, in the order of the input: its name, and of each sequence the number of letters, their log-likelihood
(natural logarithm, summed over the letters, each given everything before it) and its mean. Several sequences in a
record (`--columns=cds=dna,protein=protein`) are one document: the second is scored given the first. A sequence longer
than the context is scored in overlapping windows. Stop with Ctrl-C: the same command goes on.
"""

import csv

from absl import app, flags
from etils import epath

from bsm_jax.inference import command_line, pieces
from bsm_jax.inference.likelihood import Likelihood, likelihoods

# Batches between two results on disk.
_BATCHES_A_PIECE = 64


def header(document, per_residue: bool) -> list[str]:
  """Names of the columns; those of a document of several sequences say which."""
  names = ["id"]
  for number, (modality, _) in enumerate(document, 1):
    prefix = f"{modality.name.lower()}{number}_" if len(document) > 1 else ""
    names += [f"{prefix}{name}" for name in ("letters", "log_likelihood", "mean_log_likelihood")]
    names += [f"{prefix}per_residue"] * per_residue
  return names


def lines(records, found: list[Likelihood], per_residue: bool) -> list[list[str]]:
  """A line of the table for each record."""
  table = []
  for record, likelihood in zip(records, found, strict=True):
    line = [record.name]
    for letters in likelihood.parts:
      part = Likelihood((letters,))
      line += [str(len(letters)), f"{part.total:.6f}", f"{part.mean:.6f}"]
      line += [",".join(f"{value:.5f}" for value in letters)] * per_residue
    table.append(line)
  return table


def _write(rows: list[list[str]], path: epath.Path) -> None:
  with path.open("w") as file:
    csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)


def run() -> None:
  values = flags.FLAGS
  model = command_line.model()
  first, _, total = command_line.survey(command_line.check_windows(model.context, values.cut))

  def work(piece, start, progress):
    found = likelihoods(
        model, [record.document for record in piece], reverse_complement=values.reverse_complement, cut=values.cut,
        lenient=values.lenient, max_tokens_per_batch=values.max_tokens_per_batch,
        names=[record.name for record in piece], progress=progress,
    )  # fmt: skip
    table = lines(piece, found, values.per_residue)
    return table if start else [header(first.document, values.per_residue), *table]

  count = pieces.run(
      command_line.read(), work, values.out, overwrite=values.overwrite, total=total,
      form=pieces.Format(".tsv", _write, pieces.join_text),
      about=command_line.about(model, ["reverse_complement", "cut", "per_residue"]),
      letters=_BATCHES_A_PIECE * (values.max_tokens_per_batch or model.tokens_per_batch),
  )  # fmt: skip
  print(f"{count:,} records scored with step {model.step} of {model.name}: {values.out}")


if __name__ == "__main__":
  command_line.define("Table to write (.tsv).")
  flags.mark_flag_as_required("input")
  flags.DEFINE_bool("reverse_complement", False, "Mean over both strands, for DNA.")
  flags.DEFINE_bool("cut", True, "Score what exceeds the context in overlapping windows; --nocut to stop at it.")
  flags.DEFINE_bool("per_residue", False, "A column with the log-likelihood of each letter, separated by commas.")
  app.run(command_line.main(run))
