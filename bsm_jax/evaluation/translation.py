"""Does a model translate? Bits of held-out proteins given their DNA, of DNA given its protein, and where they are lost.

  python -m bsm_jax.evaluation.translation --workdir=RUN --rows=ROWS [--step=N] [--out=DIR]

scores the diagnostic row sets in ROWS (`configs/data/diagnostics.py`, which says what their names mean) with a
checkpoint of the run, prints tables, and writes `figures.json`, `figures.tsv` and a PNG for each figure.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from absl import app, flags, logging
from etils import epath

from bsm_jax import codons, inference, tokenizer
from bsm_jax import model as model_lib
from bsm_jax.evaluation import translation_report
from bsm_jax.evaluation.translation_report import Letters
from bsm_jax.input import rows as rows_lib
from bsm_jax.input import segments
from bsm_jax.tokenizer import Modality
from bsm_jax.training import checkpoint as checkpoint_lib
from bsm_jax.training import program as program_lib
from bsm_jax.training import step as step_lib

PREFIX = "diagnose_"
_NAME = re.compile(
    PREFIX + r"(?P<organism>[a-z0-9]+)_code(?P<code>\d+)_(?P<windows>w\d+_\d+|full|whole|introns|spliced|train)"
    r"_(?P<condition>protein_given_dna|protein_given_wrong_dna|protein_alone|dna_given_protein|dna_given_wrong_protein"
    r"|dna_alone|codon_usage)"
)  # fmt: skip

# `score(tokens)`: packed rows uint8 [b, context] to bits of every next token [b, context], and whether it was the most
# likely one.
Score = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class TranslationError(ValueError):
  """Row sets or a run that cannot be diagnosed; the message names them and the remedy."""


@dataclasses.dataclass(frozen=True)
class Probe:
  """A diagnostic row set, and what its name says.

  Attributes:
    row_set: its rows, of the `valid` split (`train` for `codon_usage`).
    organism, code, windows, condition: see `configs/data/diagnostics.py`.
  """

  row_set: rows_lib.RowSet
  organism: str
  code: int
  windows: str
  condition: str

  @property
  def scored(self) -> Modality:
    """The modality whose letters are asked for."""
    return Modality.PROTEIN if self.condition.startswith("protein") else Modality.DNA

  @property
  def aligned(self) -> bool:
    """Whether residue k is that of codon k."""
    return self.windows != "introns" and self.condition in ("protein_given_dna", "codon_usage")


def open_probes(root: str, context: int, names: Sequence[str] = ()) -> list[Probe]:
  """The diagnostic row sets of a folder.

  Args:
    root: folder of row sets.
    context: the run's.
    names: only these; empty for all.

  Raises:
    TranslationError: there is none, one that is asked for is not there, or a name does not say what it is.
    RowsError: see `open_row_set`.
  """
  folder = epath.Path(root)
  every = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
  there = [name for name in every if name.startswith(PREFIX)]
  if unknown := sorted(set(names) - set(there)):
    raise TranslationError(
        f"no diagnostic row set {', '.join(unknown)} in {root}; there are: {', '.join(there) or 'none'}"
    )
  if not there:
    raise TranslationError(
        f"no diagnostic row sets ({PREFIX}*) in {root} (found: {', '.join(every) or 'nothing'}). Build them with"
        " `python -m data_pipelines.build --config=configs/data/diagnostics.py`."
    )
  probes = []
  for name in names or there:
    if not (said := _NAME.fullmatch(name)) or int(said["code"]) not in codons.GENETIC_CODES:
      raise TranslationError(
          f"row set {name}: a diagnostic row set is called {_NAME.pattern}, its code one of"
          f" {', '.join(map(str, codons.GENETIC_CODES))}"
      )
    split = "train" if said["condition"] == "codon_usage" else "valid"
    row_set = rows_lib.open_row_set(root, name, split, context=context)
    probes.append(Probe(row_set, said["organism"], int(said["code"]), said["windows"], said["condition"]))
  return probes


def make_score(apply, params, *, attend_across_documents: bool = False) -> Score:
  """Args: see `step.token_losses`."""

  @jax.jit
  def compiled(params, tokens_bs):
    held = []  # the logits, of which `token_losses` gives only the losses

    def held_apply(*arguments):
      held.append(apply(*arguments))
      return held[-1]

    losses_bs, _ = step_lib.token_losses(
        held_apply, params, tokens_bs, attend_across_documents=attend_across_documents
    )
    targets_bs, _ = segments.next_tokens(tokens_bs)
    return losses_bs / np.log(2.0), jnp.argmax(held[0], axis=-1) == targets_bs

  def score(tokens_bs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return jax.device_get(compiled(params, tokens_bs))

  return score


def documents(row: np.ndarray) -> Iterator[dict[Modality, slice]]:
  """Where the letters of each document's sequences stand in a row, uint8 [context]."""
  starts = np.flatnonzero(row == tokenizer.BOS).tolist()
  for start, end in zip(starts, [*starts[1:], len(row)]):
    found, tag = {}, start + 1
    for modality, letters in tokenizer.split_document(row[start:end]):
      found[modality] = slice(tag + 1, tag + 1 + len(letters))
      tag += len(letters) + 2  # the next one's, behind a <sep>
    yield found


def _length(letters: slice) -> int:
  return letters.stop - letters.start


def has_intron(document: dict[Modality, slice]) -> bool:
  """Whether there is more DNA than codons, of which the last may be a stop."""
  return _length(document[Modality.DNA]) > 3 * _length(document[Modality.PROTEIN]) + 3


def _residues_wanted(probe: Probe, introns: dict[str, set[bytes]]) -> Callable[[np.ndarray, dict], int | None]:
  """A function of (row, document) that says how many residues to look at from the window's start; None for all."""
  if probe.windows == "whole":
    # Only a gene that has no more is shown in a window shorter than the shortest.
    least = probe.row_set.info["row_set"]["codons"][0]
    return lambda row, document: None if _codons(document) < least else 0
  if probe.windows == "introns":
    return lambda row, document: None if has_intron(document) else 0
  if probe.windows == "spliced":
    wanted = introns.get(probe.organism, set())

    def same_window(row, document):
      protein = row[document[Modality.PROTEIN]].tobytes()
      return max((len(start) for start in wanted if protein.startswith(start)), default=0)

    return same_window
  return lambda row, document: None


def _codons(document: dict[Modality, slice]) -> int:
  return _length(document[Modality.PROTEIN]) if Modality.PROTEIN in document else _length(document[Modality.DNA]) // 3


def _columns(probe: Probe, row: np.ndarray, document: dict, wanted: int | None) -> tuple[slice, dict]:
  """Which letters of a document are looked at, and what is known of each (`Letters`, without its scores)."""
  at = document[probe.scored]
  if probe.scored == Modality.PROTEIN:
    residue = row[at]
    codon = np.full(len(residue), codons.UNKNOWN)
    if probe.aligned:
      of_dna = codons.numbers(row[document[Modality.DNA]])[: len(residue)]
      codon[: len(of_dna)] = of_dna  # a gene cut off in its last codon has that residue all the same
    per_codon = 1
  else:
    codon, per_codon = codons.numbers(row[at]), 3
    residue = np.where(codon == codons.UNKNOWN, 0, codons.residues(probe.code)[codon])
    if len(codon) and tokenizer.decode(residue[-1:]) == "*":
      codon, residue = codon[:-1], residue[:-1]  # no residue speaks of the stop
  length = len(codon)
  taken = length if wanted is None else min(wanted, length)
  spread = lambda values: np.repeat(values[:taken], per_codon)
  known = {
      "position": spread(np.arange(length)), "length": np.full(taken * per_codon, length), "residue": spread(residue),
      "codon": spread(codon),
  }
  return slice(at.start, at.start + taken * per_codon), known


def measure(score: Score, probe: Probe, introns: dict[str, set[bytes]], batch_size: int) -> Letters:
  """Scores one row set.

  Args:
    score: the model.
    probe: the row set.
    introns: by organism, the proteins of windows with introns: `introns` adds them, `spliced` takes those windows.
    batch_size: rows at a time.
  """
  source = probe.row_set.source()
  wanted = _residues_wanted(probe, introns)
  chosen = []  # rows with something to look at
  for row in (source[i] for i in range(len(source))):
    looked_at = [(document, n) for document in documents(row) if (n := wanted(row, document)) != 0]
    if looked_at:
      chosen.append((row, looked_at))
    if probe.windows == "introns":
      introns.setdefault(probe.organism, set()).update(
          row[document[Modality.PROTEIN]].tobytes() for document, _ in looked_at
      )
  parts: list[Letters] = []
  for start in range(0, len(chosen), batch_size):
    batch = chosen[start : start + batch_size]
    tokens = np.full((batch_size, probe.row_set.context), tokenizer.PAD, np.uint8)
    tokens[: len(batch)] = [row for row, _ in batch]
    bits, hits = score(tokens)
    for i, (row, looked_at) in enumerate(batch):
      for document, n in looked_at:
        at, known = _columns(probe, row, document, n)
        predicted_at = slice(at.start - 1, at.stop - 1)
        parts.append(Letters(document=np.full(at.stop - at.start, len(parts)), bits=bits[i, predicted_at],
                             hit=hits[i, predicted_at], **known))
  return translation_report.concatenate(parts)


def usage_of(probe: Probe) -> np.ndarray:
  """`codons.usage_bits` [64] of a `codon_usage` row set."""
  source = probe.row_set.source()
  counted = [
      codons.numbers(row[document[Modality.DNA]])[: _codons(document)]
      for row in (source[i] for i in range(len(source))) for document in documents(row)
  ]
  return codons.usage_bits(np.concatenate(counted), probe.code)


def diagnose(score: Score, probes: Sequence[Probe], batch_size: int = 16) -> list[translation_report.Figure]:
  """Scores row sets and sums up.

  Args:
    score: the model.
    probes: what `open_probes` gives.
    batch_size: rows at a time.

  Raises:
    TranslationError: there are `spliced` windows of an organism, but no `introns` that say which.
  """
  usage = {probe.organism: usage_of(probe) for probe in probes if probe.condition == "codon_usage"}
  with_introns = {probe.organism for probe in probes if probe.windows == "introns"}
  for probe in probes:
    if probe.windows == "spliced" and probe.organism not in with_introns:
      raise TranslationError(f"{probe.row_set.name} needs the row set {PREFIX}{probe.organism}_code{probe.code}_introns"
                             "_protein_given_dna beside it, which says which windows hold an intron")
  introns: dict[str, set[bytes]] = {}
  found = []
  # Those with introns first: they say which windows of the spliced ones are wanted.
  asked = sorted((p for p in probes if p.condition != "codon_usage"), key=lambda p: p.windows != "introns")
  for probe in tqdm.tqdm(asked, desc="row sets", leave=False, disable=None):
    letters = measure(score, probe, introns, batch_size)
    found.append(translation_report.Measured(probe.organism, probe.code, probe.windows, probe.condition, letters))
  return translation_report.summarize(found, usage)


def main(argv) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
  values = flags.FLAGS
  logging.set_verbosity(logging.WARNING)
  try:
    model = inference.load(values.workdir, step=values.step, devices=jax.local_devices()[:1])
    probes = open_probes(values.rows, model.context, values.row_sets)
    apply = model_lib.make_apply(model.config, model.ops)
    score = make_score(apply, model.params, attend_across_documents=model.attend_across_documents)
    figures = diagnose(score, probes, values.batch_size)
  except (
      TranslationError, inference.InputError, rows_lib.RowsError, checkpoint_lib.CheckpointError,
      program_lib.ConfigError,
  ) as error:  # fmt: skip
    sys.exit(f"error: {error}")
  out = epath.Path(values.out or epath.Path(values.workdir) / "translation" / str(model.step))
  print(translation_report.tables(figures))
  about = {"workdir": values.workdir, "step": model.step, "rows": values.rows}
  print(f"\nStep {model.step}. Written:\n  " + "\n  ".join(translation_report.write(figures, out, about)))


if __name__ == "__main__":
  flags.DEFINE_string("workdir", None, "Run directory of `bsm_jax.train`.", required=True)
  flags.DEFINE_string("rows", None, "Folder of row sets, the diagnostic ones among them.", required=True)
  flags.DEFINE_integer("step", None, "Step of the checkpoint; the newest if not given.")
  flags.DEFINE_string("out", None, "Folder for the results; RUN/translation/STEP if not given.")
  flags.DEFINE_list("row_sets", [], "Only these diagnostic row sets.")
  flags.DEFINE_integer("batch_size", 16, "Rows scored at a time.", lower_bound=1)
  app.run(main)
