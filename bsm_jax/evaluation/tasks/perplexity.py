"""Perplexity: how well a model predicts sequences that it has not seen, by modality.

Only letters are scored; tags, `<sep>`, `<bos>` and `<eos>` are not. Bits per residue are the summed -log2 p of all
letters over the number of letters, hence comparable with any model of the same letters, whatever its tokens: a
tokenizer of k letters a token has its loss divided by k. Perplexity is 2 to the bits per residue.
"""

import dataclasses

import jax
import numpy as np
import tqdm

from bsm_jax import inference
from bsm_jax import model as model_lib
from bsm_jax.evaluation import dms, metrics, results
from bsm_jax.evaluation.tasks.task import Settings, TaskError
from bsm_jax.inference import records
from bsm_jax.inference.loaded import Model
from bsm_jax.input import rows as rows_lib
from bsm_jax.tokenizer import Modality
from bsm_jax.training import step as step_lib

VERSION = "bits per residue, letters only, v1"


def _figures(bits: np.ndarray, letters: np.ndarray, settings: Settings) -> tuple[dict, dict]:
  """Metrics and intervals. Args: summed bits and number of letters of each sequence or row, float64 [n] both."""
  mean = lambda bits, letters: bits.sum() / letters.sum()
  ends = metrics.bootstrap_interval(mean, bits, letters, resamples=settings.resamples, seed=settings.seed)
  found = float(mean(bits, letters))
  return (
      {"perplexity": float(2**found), "bits_per_residue": found},
      {"perplexity": tuple(float(2**end) for end in ends), "bits_per_residue": ends},
  )


def _chosen(count: int, settings: Settings) -> np.ndarray:
  """Which of so many items are scored, in ascending order."""
  if settings.limit is None or settings.limit >= count:
    return np.arange(count)
  return np.sort(np.random.default_rng(settings.seed).choice(count, settings.limit, replace=False))


def _notes(settings: Settings, what: str) -> tuple[str, ...]:
  if settings.limit is None:
    return ()
  return (f"At most {settings.limit} {what}, drawn by seed {settings.seed}: a sample's figures.",)


@dataclasses.dataclass(frozen=True)
class FastaPerplexity:
  """Of the sequences of a FASTA file, each alone.

  Attributes:
    name: of the task.
    file: of the sequences.
    modality: theirs.
    published: where they are to be had.
  """

  name: str
  file: str
  modality: Modality
  published: str = "your own held-out sequences"
  version = VERSION
  kind = "perplexity"

  def files(self, data_root: str, settings: Settings) -> list[str]:
    return [self.file]

  def run(self, model: Model, data_root: str, settings: Settings) -> results.Result:
    path = str(dms.locate(data_root, self.file))
    found = list(records.read(path, modality=self.modality))
    found = [found[number] for number in _chosen(len(found), settings)]
    total = sum(len(letters) for record in found for _, letters in record.document)
    with tqdm.tqdm(total=total, desc=self.name, unit=" letters", unit_scale=True, leave=False, disable=None) as bar:
      scored = inference.likelihoods(
          model, [record.document for record in found], names=[record.name for record in found], progress=bar.update
      )
    letters = np.array([sum(int((~np.isnan(part)).sum()) for part in one.parts) for one in scored], np.float64)
    bits = np.array([one.total for one in scored]) / -np.log(2)
    figures, intervals = _figures(bits, letters, settings)
    long = sum(len(record.document[0][1]) + 2 > model.context for record in found)
    return results.Result(
        task=self.name, version=self.version, metrics=figures, intervals=intervals,
        counts={"sequences": len(found), "residues": int(letters.sum())}, seed=settings.seed,
        data=results.about_data({self.file: path}), settings=dataclasses.asdict(settings),
        truncation={"policy": "a sequence beyond the context in windows that overlap by half, every letter scored once",
                    "share": long / len(found)},
        notes=_notes(settings, "sequences"), **results.about_model(model),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class RowsPerplexity:
  """Of one modality's letters in the held-out rows of a row set, which training was watched by.

  A letter is told what stands before it in its row's document, as in training.

  Attributes:
    name: of the task.
    row_set: its folder in the folder of data.
    modality: whose letters.
    split: of the row set.
  """

  name: str
  row_set: str
  modality: Modality
  split: str = "valid"
  published: str = "rows made by `python -m data_pipelines.build`: give their folder as --data"
  version = VERSION
  kind = "perplexity"

  def files(self, data_root: str, settings: Settings) -> list[str]:
    return [f"{self.row_set}/corpus.json"]

  def run(self, model: Model, data_root: str, settings: Settings) -> results.Result:
    row_set = rows_lib.open_row_set(data_root, self.row_set, self.split, context=model.context)
    source = row_set.source()
    chosen = _chosen(len(source), settings)
    apply, across = model_lib.make_apply(model.config, model.ops), model.attend_across_documents
    losses = lambda params, tokens: step_lib.token_losses(apply, params, tokens, attend_across_documents=across)
    table = jax.jit(lambda params, tokens: step_lib.loss_table(*losses(params, tokens)), out_shardings=model.by_row)
    size = max(1, model.tokens_per_batch // (model.context * model.places)) * model.places
    of = step_lib.CLASSES.index(self.modality.name.lower())
    parts = []
    for start in tqdm.trange(0, len(chosen), size, desc=self.name, unit=" batches", leave=False, disable=None):
      rows = [source[int(row)] for row in chosen[start : start + size]]
      tokens = np.zeros((size, model.context), np.uint8)  # <pad> is id 0
      tokens[: len(rows)] = rows
      sums = table(model.params, jax.device_put(tokens, model.by_row))
      parts.append(np.asarray(sums, np.float64)[: len(rows), :, of])
    nats, letters = np.concatenate(parts).T
    if not letters.sum():
      raise TaskError(f"{self.row_set} holds no {self.modality.name.lower()} letters in its {self.split} rows")
    figures, intervals = _figures(nats / np.log(2), letters, settings)
    path = f"{self.row_set}/corpus.json"
    return results.Result(
        task=self.name, version=self.version, metrics=figures, intervals=intervals,
        counts={"rows": len(chosen), "residues": int(letters.sum())}, seed=settings.seed,
        data=results.about_data({path: str(dms.locate(data_root, path))}), settings=dataclasses.asdict(settings),
        truncation={"policy": "rows as they were packed for training", "share": 0.0},
        notes=(*_notes(settings, "rows"), f"Rows of the {self.split} split of the row set {self.row_set}."),
        **results.about_model(model),
    )  # fmt: skip
