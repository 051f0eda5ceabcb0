"""Fine-tunes a checkpoint on a task, with several seeds, against the same model untrained and a k-mer baseline.

  python -m bsm_jax.evaluation.finetune.run --config=configs/finetune_ncrpi.py --checkpoint=RUN --out=DIR \
      --config.data.root=DATASET [--config.mode=lora] [--config.seeds=0,1,2]

Of each seed the parameters that are best on the development data are kept, and the test data is asked once, with them.
DIR holds `result.json`, and a file for each finished seed: the same command goes on behind those.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Sequence

import jax
import numpy as np
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import ConfigDict, config_flags

from bsm_jax import inference, sharding
from bsm_jax import model as model_lib
from bsm_jax.evaluation import results as results_lib
from bsm_jax.evaluation.finetune import baseline, loop, objective, summary
from bsm_jax.evaluation.finetune import data as data_lib
from bsm_jax.evaluation.finetune import head as head_lib
from bsm_jax.tokenizer import Modality, TokenizerError, split_document, vocabulary_hash
from bsm_jax.training.checkpoint import CheckpointError
from bsm_jax.training.program import ConfigError

BASELINES = ("untrained", "kmer")
# What results do not depend on: it may change from one start of a command to the next.
_FREE = ("seeds", "baselines", "resamples", "save", "paper")
_EXPLAINED = (data_lib.DataError, head_lib.HeadError, loop.FinetuneError, objective.ObjectiveError,
              summary.SummaryError, inference.InputError, TokenizerError, CheckpointError, ConfigError)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Task:
  """What all arms and seeds have in common."""

  config: ConfigDict
  data: data_lib.Labelled
  program: loop.Program
  finished: summary.Finished
  checkpoint: dict
  code: dict


def _program(config: ConfigDict, model: inference.Model, data: data_lib.Labelled) -> loop.Program:
  goal = objective.make_objective(
      config.loss, config.metric, config.class_weights, data.train.labels, len(data.classes), centred=config.head_bias
  )
  head = head_lib.HeadConfig(config.mode, config.pool, config.lora.rank, config.lora.alpha, config.head_bias)
  settings = loop.LoopConfig(
      batch_size=config.batch_size, epochs=config.epochs, eval_every_steps=config.eval_every_steps,
      patience=config.patience, **config.optimizer.to_dict(),
  )  # fmt: skip
  return loop.make_program(
      model, head, settings, goal, n_examples=len(data.train), max_length=config.data.max_length
  )


def _random_params(model: inference.Model, seed: int) -> dict:
  """Parameters of the model's shape before any training, where its own lie."""
  return jax.device_put(model_lib.init_params(model.config, seed), sharding.replicated(model.mesh))


def _save(task: _Task, arm: str, seed: int, fit: loop.Fit, params: dict) -> None:
  """The head, and the decoder with what was trained of it, as flat names of one .npz file; and JSON about them."""
  decoder = head_lib.decoder_params(task.program.head, fit.trained, params)
  leaves = jax.tree.leaves_with_path({"head": fit.trained["head"], "decoder": decoder})
  named = {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}
  kinds = [modality.name.lower() for modality, _ in split_document(task.data.train.tokens[0])]
  model, goal, config = task.program.model, task.program.objective, task.config
  about = {
      "task": config.task, "version": config.version, "arm": arm, "seed": seed, "best_step": fit.best_step,
      "loss": config.loss, "classes": task.data.classes, "scale": goal.scale, "mean": goal.mean, "mode": config.mode,
      "pool": config.pool, "kinds": kinds, "max_length": config.data.max_length,
      "context": model.context, "model": dataclasses.asdict(model.config), "checkpoint": task.checkpoint,
      "vocabulary_hash": vocabulary_hash(), "code": task.code,
  }  # fmt: skip
  with (task.finished.folder / arm / f"seed_{seed}.npz").open("wb") as file:
    np.savez(file, about=json.dumps(about), **named)


def _run_arm(task: _Task, arm: str, model: inference.Model) -> list[dict]:
  """All seeds of the checkpoint, or of the untrained model: what was kept, or is made now."""
  config, program, data = task.config, task.program, task.data
  found, prepared = [], None
  for seed in config.seeds:
    kept = task.finished.read(arm, seed)
    if kept is None:
      untrained = arm == "untrained"
      params = _random_params(model, seed) if untrained else model.params
      if prepared is None or untrained:
        prepared = {name: loop.prepare(program, params, getattr(data, name)) for name in data_lib.PARTS}
      say = lambda evaluation, seed=seed: print(
          f"  {arm} seed {seed}: " + ", ".join(f"{name} {value:.4g}" for name, value in evaluation.items()), flush=True
      )
      fit = loop.fit(program, params, prepared["train"], prepared["dev"], seed=seed, metric=config.metric, report=say)
      scores = loop.predict(program, fit.trained, params, prepared["test"])
      kept = {"seed": seed, "best_step": fit.best_step, "steps": fit.steps, "history": fit.history}
      kept |= {"scores": scores.tolist(), "code": task.code}
      task.finished.write(arm, seed, kept)
      if config.save:
        _save(task, arm, seed, fit, params)
    found.append(kept)
  return found


def _run_kmer(task: _Task) -> list[dict]:
  kept = task.finished.read("kmer", 0)
  if kept is None:
    data, config = task.data, task.config
    k = {modality: config.kmer[modality.name.lower()] for modality in Modality}
    scores, about = baseline.scores(data.train, data.dev, data.test, task.program.objective, config.metric, k)
    kept = {"seed": 0, "scores": scores.tolist(), "code": task.code, **about}
    task.finished.write("kmer", 0, kept)
  return [kept]


def read_data(config: ConfigDict) -> data_lib.Labelled:
  """The data of a task's config. Raises DataError."""
  of_data = data_lib.DataConfig(**config.data.to_dict())
  return data_lib.read(of_data, regression=config.loss == "mse", binary=config.loss == "bce")


def describe(data: data_lib.Labelled, max_length: int) -> str:
  """Counts and truncation, in lines."""
  counts, cut = data.counts(), data.truncation(max_length)
  shares = ", ".join(f"{name} {share:.1%}" for name, share in cut["share_by_part"].items())
  return "\n".join([
      ", ".join(f"{name} {counts[name]:,}" for name in data_lib.PARTS)
      + f" examples; {counts['test_documents_in_training']:,} test documents, as cut, stand in the training data too",
      f"truncated ({cut['policy']}): {shares}; {cut['letters_share']:.1%} of all letters",
      *data.notes,
  ])


def _notes(config: ConfigDict, arms: Sequence[dict]) -> list[str]:
  """What a reader of the table should know."""
  notes = [f"Fine-tuned with mode={config.mode}, pool={config.pool}; the best on dev is tested, once a seed."]
  if config.mode == "probe":
    notes.append("A probe's head is a convex optimum: seeds differ in the untrained model's parameters only.")
  if config.data.layout == "csv":
    notes.append("Data from CSV files of one's own: the paper's figures are of LucaOne's files.")
  commits = {str(of_seed["code"]["commit"]) for arm in arms for of_seed in arm["seeds"] if "code" in of_seed}
  if len(commits) > 1:
    notes.append(f"Its seeds were made by different commits of this code: {', '.join(sorted(commits))}.")
  return notes


def finetune(config: ConfigDict, model: inference.Model, out: str) -> dict:
  """Everything that the command does.

  Args:
    config: of a task (`configs/finetune.py`).
    model: the checkpoint.
    out: the output folder.

  Returns:
    the result; see `summary.make_result`.

  Raises:
    ValueError: data, settings or folder that cannot be used (`_EXPLAINED`).
  """
  baselines = [name for name in config.baselines.split(",") if name]
  if unknown := [name for name in baselines if name not in BASELINES]:
    raise loop.FinetuneError(f"baselines: no {unknown[0]!r}; there are {', '.join(BASELINES)}")
  if not config.seeds:
    raise loop.FinetuneError("seeds: give at least one, --config.seeds=0,1,2")
  if config.data.max_length > model.context and not config.beyond_context:
    raise loop.FinetuneError(
        f"data.max_length {config.data.max_length} exceeds the {model.context} tokens that {model.name} was trained on:"
        f" --config.data.max_length={model.context}, or --config.beyond_context=True for positions it has never seen"
    )
  data = read_data(config)
  print(describe(data, config.data.max_length), flush=True)
  program = _program(config, model, data)
  checkpoint = {"run": model.name, "step": model.step, "sha256": model.params_sha256}
  settings = json.loads(config.to_json_best_effort())
  about = {"settings": {k: v for k, v in settings.items() if k not in _FREE}, "data": data.digests,
           "checkpoint": checkpoint["sha256"], "dtype": model.config.dtype}  # fmt: skip
  code = results_lib.about_code()
  task = _Task(config, data, program, summary.Finished(out, about, code), checkpoint, code)
  sum_up = lambda seeds: summary.summarize(program.objective, data.test.labels, seeds, config.resamples)
  found = sum_up(_run_arm(task, "checkpoint", model))
  of_baselines = {}
  for name in baselines:
    of_baselines[name] = sum_up(_run_kmer(task) if name == "kmer" else _run_arm(task, name, model))
  result = summary.make_result(
      task=config.task, version=config.version, found=found, baselines=of_baselines, counts=data.counts(),
      seeds=config.seeds, data=data.digests, truncation=data.truncation(config.data.max_length),
      checkpoint=checkpoint, parameters=model_lib.count_params(model.params), code=code, settings=settings,
      notes=[*data.notes, *_notes(config, [found, *of_baselines.values()])],
  )  # fmt: skip
  path = task.finished.write_result(result)
  print(f"{summary.table(result, config.metric, config.paper)}\n{path}")
  return result


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
  absl_logging.set_verbosity(absl_logging.ERROR)
  args = flags.FLAGS
  try:
    model = inference.load(args.checkpoint, step=args.step, dtype=args.dtype)
    finetune(args.config, model, args.out)
  except _EXPLAINED as error:
    sys.exit(f"error: {error}")
  except KeyboardInterrupt:
    sys.exit("\nstopped; the same command goes on behind the seeds that are finished")


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "The task's config, configs/finetune_….py.", lock_config=True)
  flags.DEFINE_string("checkpoint", None, "Run directory of `bsm_jax.train`, local or gs://.")
  flags.DEFINE_integer("step", None, "Step of the checkpoint; the newest if not given.")
  flags.DEFINE_string("dtype", None, "bfloat16 or float32; if not given float32 on CPUs, else as it was trained.")
  flags.DEFINE_string("out", None, "Folder for the results; the same command goes on where it stopped.")
  flags.mark_flags_as_required(["config", "checkpoint", "out"])
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  app.run(main)
