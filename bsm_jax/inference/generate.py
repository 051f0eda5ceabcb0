"""New sequences, as FASTA.

  python -m bsm_jax.inference.generate --checkpoint=RUN --generate=protein --samples=100 --out=new.fasta
  python -m bsm_jax.inference.generate --checkpoint=RUN --input=genes.fna --modality=dna --generate=protein \\
      --temperature=0 --stop=translation --out=proteins.fasta
  python -m bsm_jax.inference.generate --checkpoint=RUN --input=starts.faa --modality=protein --out=continued.fasta

Without `--input` from nothing; with `--generate` a new sequence behind those of each record; without it the last
sequence of each record is continued. Only letters of its modality are drawn. A record's samples depend on `--seed` and
its number, not on what else is in the file. Stop with Ctrl-C: the same command goes on.
"""

from absl import app, flags
from etils import epath

from bsm_jax.inference import command_line, pieces
from bsm_jax.inference.documents import InputError
from bsm_jax.inference.generation import STOPS, Sample, Settings, ask, sample
from bsm_jax.inference.records import Record
from bsm_jax.tokenizer import Modality

_LINE = 60
# Letters of prompts between two results on disk; each brings a sequence, which takes much longer than to read it.
_LETTERS_A_PIECE = 16_384


def fasta(name: str, found: Sample) -> str:
  """A record of the output."""
  lines = [found.letters[i : i + _LINE] for i in range(0, len(found.letters), _LINE)]
  about = f"modality={found.modality.name.lower()} log_likelihood={found.log_likelihood:.4f} end={found.end}"
  return "\n".join([f">{name}_{found.number + 1} {about}", *lines]) + "\n"


def _write(texts: list[str], path: epath.Path) -> None:
  path.write_text("".join(texts))


def run() -> None:
  values = flags.FLAGS
  if not values.input and not values.generate:
    raise InputError("nothing to continue: give --input, or --generate=dna|rna|protein")
  settings = Settings(**{name: getattr(values, name) for name in _SETTINGS})
  model = command_line.model()
  wanted = values.generate and Modality.parse(values.generate)
  if values.input:
    records, samples = command_line.read(), values.samples
    _, count, _ = command_line.survey(
        lambda record: ask(record.document, wanted, settings, model.context, values.lenient, record.name)
    )
  else:
    # Each sample from nothing is a record of its own, so that many of them are worked through in pieces.
    records, samples = (Record(f"sample_{number}", ()) for number in range(1, values.samples + 1)), 1
    count = values.samples

  def work(piece, start, progress):
    found = sample(
        model, [record.document for record in piece], wanted, settings, samples=samples, seed=values.seed,
        lenient=values.lenient, max_tokens_per_batch=values.max_tokens_per_batch,
        names=[record.name for record in piece], first_prompt=start, progress=progress,
    )  # fmt: skip
    return [fasta(piece[one.prompt - start].name, one) for one in found]

  pieces.run(
      records, work, values.out, overwrite=values.overwrite, total=count * samples, unit="sequences",
      amount=lambda piece: len(piece) * samples,
      form=pieces.Format(".fasta", _write, pieces.join_text),
      about=command_line.about(model, ["generate", "samples", "seed", *_SETTINGS]), letters=_LETTERS_A_PIECE,
  )  # fmt: skip
  print(f"{count * samples:,} sequences generated with step {model.step} of {model.name}: {values.out}")


_SETTINGS = ("max_length", "min_length", "temperature", "top_k", "top_p", "stop", "genetic_code")

if __name__ == "__main__":
  command_line.define("FASTA file to write.")
  flags.DEFINE_enum("generate", None, [m.name.lower() for m in Modality], "What to generate behind each record.")
  flags.DEFINE_integer("samples", 1, "Sequences for each record; without --input, in all.", lower_bound=1)
  flags.DEFINE_integer("seed", 0, "Of the random numbers.")
  flags.DEFINE_integer("max_length", None, "New letters at most; what the context has room for if not given.")
  flags.DEFINE_integer("min_length", 0, "New letters at least.")
  flags.DEFINE_float("temperature", 1.0, "Divides the logits; 0 takes the most likely letter.")
  flags.DEFINE_integer("top_k", 0, "Only the k most likely letters; 0 for all.")
  flags.DEFINE_float("top_p", 1.0, "Only the most likely letters that together have this probability.")
  flags.DEFINE_enum("stop", "eos", STOPS, "Where a sequence ends; see `bsm_jax.inference.Settings`.")
  flags.DEFINE_integer("genetic_code", 1, "NCBI's number of the genetic code, for --stop=translation.")
  app.run(command_line.main(run))
