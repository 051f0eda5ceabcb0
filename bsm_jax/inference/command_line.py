"""Flags and endings that `score`, `embed` and `generate` have in common."""

import sys
from collections.abc import Callable

from absl import app, flags, logging

from bsm_jax.inference import documents, loaded, pieces, records
from bsm_jax.inference.documents import InputError
from bsm_jax.tokenizer import Modality, TokenizerError
from bsm_jax.training.checkpoint import CheckpointError
from bsm_jax.training.program import ConfigError


def define(out: str) -> None:
  """The flags. Args: what `--out` is."""
  flags.DEFINE_string("checkpoint", None, "Run directory of `bsm_jax.train`, local or gs://.", required=True)
  flags.DEFINE_integer("step", None, "Step of the checkpoint; the newest if not given.")
  flags.DEFINE_string("input", None, "Sequences: FASTA, CSV or TSV (.fasta .fa .fna .faa .csv .tsv, and .gz).")
  flags.DEFINE_enum("modality", None, [m.name.lower() for m in Modality], "What the sequences of `--input` are.")
  flags.DEFINE_list("columns", [], "Of a table, instead of --modality: COLUMN=dna|rna|protein,… in the order in which"
                    " the model shall see them.")  # fmt: skip
  flags.DEFINE_string("id_column", "id", "Of a table: the column with names.")
  flags.DEFINE_string("out", None, out, required=True)
  flags.DEFINE_bool("overwrite", False, "Whether `--out` may be replaced.")
  flags.DEFINE_bool("lenient", False, "Write <unk> for letters outside the alphabet, instead of stopping.")
  flags.DEFINE_integer("max_tokens_per_batch", None, "Tokens that are run together, over all devices.", lower_bound=1)
  flags.DEFINE_string("dtype", None, "bfloat16 or float32; if not given float32 on CPUs, else what the model was"
                      " trained in.")  # fmt: skip


def model() -> loaded.Model:
  """The model that the flags name. Raises what `load` raises."""
  values = flags.FLAGS
  return loaded.load(values.checkpoint, step=values.step, dtype=values.dtype)


def read() -> records.Iterator[records.Record]:
  """The records that the flags name. Raises InputError, see `records.read`."""
  values = flags.FLAGS
  columns = {}
  for item in values.columns:
    column, separator, modality = item.rpartition("=")
    if not separator:
      raise InputError(f"--columns={item}: write COLUMN=dna|rna|protein")
    columns[column] = Modality.parse(modality)
  modality = Modality.parse(values.modality) if values.modality else None
  return records.read(values.input, modality=modality, columns=columns, id_column=values.id_column)


def survey(check: Callable[[records.Record], object]) -> tuple[records.Record, int, int]:
  """Looks at all of the input before any work is done.

  Args:
    check: raises where a record cannot be used.

  Returns:
    the first record, how many there are, and their letters.
  """
  first, count, letters = None, 0, 0
  for record in read():
    check(record)
    first = first or record
    count, letters = count + 1, letters + pieces.letters_of([record])
  return first, count, letters


def check_windows(context: int, cut: bool) -> Callable[[records.Record], object]:
  """For `survey`: raises InputError or TokenizerError where a record cannot be read by a model of this context."""

  def check(record):
    encoded = documents.encode(record.document, lenient=flags.FLAGS.lenient, name=record.name)
    documents.windows(encoded, context, cut=cut, name=record.name)

  return check


def about(of_model: loaded.Model, names: list[str]) -> dict:
  """What results depend on: the input, the checkpoint, and the flags of these names."""
  values = flags.FLAGS
  names = ["input", "modality", "columns", "id_column", "lenient", "max_tokens_per_batch", *names]
  found = {name: getattr(values, name) for name in names}
  found["input_sha256"] = records.digest(values.input) if values.input else None
  return found | {"checkpoint": of_model.name, "step": of_model.step, "dtype": of_model.config.dtype}


def main(run: Callable[[], None]) -> Callable[[list[str]], None]:
  """A `main` for `absl.app.run` that ends with one line where the input or the model cannot be used."""

  def checked(argv):
    if len(argv) > 1:
      raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    logging.set_verbosity(logging.ERROR)
    try:
      run()
    except (InputError, TokenizerError, CheckpointError, ConfigError) as error:
      sys.exit(f"error: {error}")
    except KeyboardInterrupt:
      sys.exit("\nstopped; the same command goes on from here")

  return checked
