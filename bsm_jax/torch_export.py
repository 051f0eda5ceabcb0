"""A checkpoint as a Hugging Face folder, which plain transformers loads, and such a folder as a trainable checkpoint.

  python -m bsm_jax.torch_export --checkpoint=RUN --out=HF_DIR [--step=N] [--dtype=bfloat16] [--overwrite]
  python -m bsm_jax.torch_export --from_torch=HF_DIR --out=RUN [--config=configs/bsm_110m.py]
  python -m bsm_jax.torch_export --classifier=FINETUNED/checkpoint/seed_0.npz --out=HF_DIR

The first ends with a comparison of logits in PyTorch and in JAX, and leaves nothing if they differ. It reads a layer at
a time and writes a file at a time; runs of any mesh and number of hosts are read by this one process, on the CPU. The
second makes a checkpoint of step 0 with fresh optimizer state: train from it by `--config.init_from=RUN`. The third is
for what `bsm_jax.evaluation.finetune.run --config.head_bias=False --config.save=True` made (`export/classifier.py`).
"""

import json
import os
import pathlib
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

import bsm_jax
from bsm_jax import tokenizer
from bsm_jax.export import card, check, classifier, folder, llama
from bsm_jax.export.source import Source, SourceError
from bsm_jax.model import ModelConfig
from bsm_jax.training import checkpoint as checkpoint_lib
from bsm_jax.training import metrics as metrics_lib
from bsm_jax.training import program as program_lib
from bsm_jax.training import step as step_lib

DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(jnp.bfloat16)}


class ExportError(ValueError):
  """An export that is not the same model; the message says where."""


# Errors whose message says all that a user needs.
_EXPLAINED = (
    ExportError, SourceError, check.CheckError, classifier.ClassifierError, folder.FolderError, llama.LlamaError,
    checkpoint_lib.CheckpointError, program_lib.ConfigError, OSError,
)  # fmt: skip


def _say(text: str) -> None:
  print(text, flush=True)


def export(
    run: str,
    out: str,
    *,
    step: int | None = None,
    dtype: str = "float32",
    max_shard_bytes: int = 5_000_000_000,
    overwrite: bool = False,
) -> list[str]:
  """Writes a checkpoint's model as a Hugging Face folder and proves that it is the same.

  Args:
    run: a run directory of `bsm_jax.train`, local or gs://.
    out: the folder, local; absent or empty.
    step: of the checkpoint; None for the newest.
    dtype: of the tensors, a key of `DTYPES`.
    max_shard_bytes: of one file of tensors.
    overwrite: replace an earlier export in `out`, once the new one is proven.

  Returns:
    what the comparison found, as the card says it.

  Raises:
    ExportError: PyTorch computes something else than JAX.
    CheckError, FolderError, SourceError, CheckpointError: see the message.
  """
  check.require_packages()
  if dtype not in DTYPES:
    raise ExportError(f"dtype {dtype!r}: use one of {', '.join(DTYPES)}")
  with folder.as_a_whole(out, overwrite=overwrite) as place:
    source = Source(run, step)
    try:
      return _export_to(place, source, run, pathlib.Path(out).resolve().name, dtype, max_shard_bytes)
    finally:
      source.close()


def _export_to(
    place: pathlib.Path, source: Source, run: str, name: str, dtype: str, max_shard_bytes: int
) -> list[str]:
  """The story of `export`, in a folder that takes its name afterwards."""
  model, meta, context = source.model, source.meta, source.meta["config"]["data"]["context"]
  shapes = [shape for part in llama.tensor_shapes(model).values() for shape in part.values()]
  parameters = sum(int(np.prod(shape)) for shape in shapes)
  _say(f"Step {source.step} of {run}: {model.n_layers} layers, {parameters:,} parameters, written as {dtype}")
  files = folder.write_tensors(place, model, source.part, DTYPES[dtype], max_shard_bytes)
  folder.write_json(place / "config.json", llama.to_config(model, context, dtype))
  folder.write_generation_config(place)
  tokenizer.write_hugging_face(place, model_max_length=context)
  folder.write_json(place / folder.ABOUT, {"step": source.step, **meta, "config": _without_paths(meta["config"])})
  _say(f"Written: {', '.join(files)}, config and tokenizer. Comparing logits with JAX's ...")
  checks = compare(source, place, context, dtype)
  lines = [line for line in metrics_lib.read_metrics(run) if line["kind"] == "valid" and line["step"] <= source.step]
  validation = lines[-1] if lines else {}
  facts = card.Facts(name, model, parameters, dtype, source.step, meta, validation, checks)
  (place / "README.md").write_text(card.write(facts))
  return checks


def _without_paths(settings: dict) -> dict:
  """A run's config without places of the machine that trained it: others cannot read them, and need not see them."""
  rounds = {name: of_round | {"weights_file": None} for name, of_round in settings["rounds"].items()}
  return settings | {"init_from": None, "data": settings["data"] | {"root": None}, "rounds": rounds}


def compare(source: Source, place: pathlib.Path, context: int, dtype: str) -> list[str]:
  """Logits of `check.documents` in PyTorch against JAX, which are never in memory together.

  Returns:
    what was found, in sentences.

  Raises:
    ExportError: they differ by more than `check.TOLERANCE`.
  """
  asked = check.documents(context)
  params = source.params()
  exact = check.jax_logits(params, source.model, asked, source.device)
  rounded = exact
  if dtype != "float32":
    params = _round(params)
    rounded = check.jax_logits(params, source.model, asked, source.device)
  del params
  worst = check.compare(rounded, check.torch_logits(place, asked, "float32"))
  if not worst.relative <= check.TOLERANCE:
    raise ExportError(
        f"PyTorch does not compute what JAX does, so nothing was written. The worst difference is {worst}\nAt most"
        f" {check.TOLERANCE:g} is expected: a bug of bsm_jax or of this version of transformers. Report it, with the"
        " run's config.json."
    )
  checks = [
      f"Logits of {len(asked)} fixed documents, computed in fp32 by transformers and by JAX from these weights, differ"
      f" by at most {worst.relative:.1e} of the greatest logit; token ids are equal."
  ]
  if dtype != "float32":
    real = check.compare(exact, check.torch_logits(place, asked, dtype))
    checks.append(
        f"Computed in {dtype}, they differ from those of the fp32 original by at most {real.relative:.1e} of the"
        " greatest logit."
    )
  return checks


def _round(params):
  """Parameters rounded to bf16, as fp32; the arrays that came in are given up."""
  # A conversion to bf16 and back would be optimized away; this is bf16's exponent and mantissa, and is not.
  nearest = jax.jit(lambda x: jax.lax.reduce_precision(x, 8, 7), donate_argnums=0)
  return jax.tree.map(nearest, params)


def from_torch(hf_dir: str, out: str, base: ConfigDict | None = None) -> None:
  """Writes a Hugging Face folder as a run directory with a checkpoint of step 0, from which training can begin.

  Args:
    hf_dir: the folder; its safetensors and JSON are read, nothing is executed, and PyTorch is not needed.
    out: the run directory, local; absent or empty.
    base: the run's config, of which the sizes in `model` are replaced; by default that in the folder's bsm_jax.json.

  Raises:
    LlamaError, FolderError, ConfigError: see the message.
  """
  origin = pathlib.Path(hf_dir)
  sizes = llama.from_config(folder.read_json(origin / "config.json"))
  folder.check_vocabulary(origin)
  about = folder.read_json(origin / folder.ABOUT) if (origin / folder.ABOUT).is_file() else {}
  if base is None and "config" not in about:
    raise folder.FolderError(
        f"{origin} has no {folder.ABOUT} with a run's config: give one, as --config=configs/bsm_110m.py"
    )
  config = program_lib.with_mixtures(ConfigDict(about["config"]) if base is None else base)
  with config.unlocked():
    config.model.update(sizes)
  try:
    model = program_lib.model_config(config)
  except (ValueError, TypeError) as error:
    raise program_lib.ConfigError(f"model: {error}") from error
  with folder.as_a_whole(out) as place, folder.open_tensors(origin, model) as read:
    _write_run(place, config, _assemble(model, read), about.get("rows", {}))


def _assemble(model: ModelConfig, read) -> dict:
  """The whole tree of parameters from its parts."""
  params = {"layers": {}}
  for name in llama.parts(model):
    tree = jax.tree.map(jnp.asarray, read(name))
    params["layers"] |= tree.pop("layers", {})
    params |= tree
  return params


def _write_run(place: pathlib.Path, config: ConfigDict, params: dict, drawn: dict[str, int]) -> None:
  """A run directory with these parameters at step 0; `drawn` rows of each row set are taken to be seen."""
  settings = json.loads(config.to_json_best_effort())
  optimizer = step_lib.make_optimizer(step_lib.OptimizerConfig(**config.optimizer.to_dict()))
  meta = {
      "config": settings,
      "vocabulary_hash": tokenizer.vocabulary_hash(),
      "round": program_lib.schedule(config).rounds[0].name,
      "tokens": 0,
      "rows": drawn,
      "drawn_before": drawn,
      "version": bsm_jax.__version__,
  }
  state = step_lib.init_state(params, optimizer)
  checkpointer = checkpoint_lib.Checkpointer(place / "checkpoints", every_steps=1)
  checkpointer.save(checkpoint_lib.Checkpoint(0, state, {"next_row": 0, "interval": {}}, meta), force=True)
  checkpointer.close()
  folder.write_json(place / "config.json", settings)


def main(argv) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
  args = flags.FLAGS
  if sum(given is not None for given in (args.checkpoint, args.from_torch, args.classifier)) != 1:
    raise app.UsageError("give one of --checkpoint=RUN, --from_torch=HF_DIR and --classifier=FILE.npz")
  logging.set_verbosity(logging.ERROR)  # Orbax warns that a run which is read cannot be written.
  # One process on the CPU, whatever else the machine has: accelerators round fp32 products.
  jax.config.update("jax_platforms", "cpu")
  stopped_by = []

  def stop(number, frame):
    del frame
    stopped_by.append(signal.Signals(number))
    raise KeyboardInterrupt  # Whoever has something to clean up does it.

  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, stop)
  try:
    if args.checkpoint is not None:
      checks = export(args.checkpoint, args.out, step=args.step, dtype=args.dtype,
                      max_shard_bytes=args.max_shard_bytes, overwrite=args.overwrite)  # fmt: skip
    elif args.classifier is not None:
      checks = classifier.export(args.classifier, args.out, dtype=DTYPES[args.dtype],
                                 max_shard_bytes=args.max_shard_bytes, overwrite=args.overwrite)  # fmt: skip
    else:
      from_torch(args.from_torch, args.out, args.config)
  except (*_EXPLAINED, KeyboardInterrupt) as error:
    if stopped_by:  # Storage libraries may make another error of it.
      print(f"{stopped_by[0].name}: stopped, nothing was left behind", file=sys.stderr)
      sys.exit(128 + stopped_by[0])
    sys.exit(f"error: {error}")
  if args.checkpoint is not None:
    _say("\n".join(checks) + f"\nThe model is in {args.out}; look through its README.md, the card. Next:\n"
         f"  python -c \"from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; d = '{args.out}';"
         " t = T.from_pretrained(d); print(t.decode(M.from_pretrained(d).generate(**t('<dna>atg', return_tensors='pt'),"
         " max_new_tokens=30)[0]))\"")  # fmt: skip
  elif args.classifier is not None:
    _say("\n".join(checks) + f"\nThe model is in {args.out}; its README.md, the card, says how to use it.")
  else:
    _say(f"The checkpoint of step 0 is in {args.out}. Next, train from it (with the same model in the config):\n"
         f"  python -m bsm_jax.train --config=CONFIG --config.init_from={args.out} --workdir=DIR")  # fmt: skip


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "The run's config file, for --from_torch.")
  flags.DEFINE_string("checkpoint", None, "Run directory of `bsm_jax.train`, local or gs://, to be exported.")
  flags.DEFINE_string("from_torch", None, "Hugging Face folder, to become a run directory.")
  flags.DEFINE_string("classifier", None, "seed_N.npz of bsm_jax.evaluation.finetune.run, to be exported.")
  flags.DEFINE_string("out", None, "What is written: a folder, local.", required=True)
  flags.DEFINE_integer("step", None, "Step of the checkpoint; the newest if not given.")
  flags.DEFINE_enum("dtype", "float32", list(DTYPES), "Of the written tensors.")
  flags.DEFINE_integer("max_shard_bytes", 5_000_000_000, "Of one file of tensors.", lower_bound=1)
  flags.DEFINE_bool("overwrite", False, "Replace an export in --out, once the new one is proven.")
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  app.run(main)
