"""A fine-tuned model as transformers' `LlamaForSequenceClassification`, as far as that class can express it.

The class takes the features of the last token that is no padding (ours: `<eos>`, `pool=last`) times one matrix, without
a bias: so of ours it holds those that were trained with `head_bias=False`. Two classes are two rows, the first of them
zero: softmax gives the probability that the one output of ours stands for. A number's scale is in the matrix.

https://huggingface.co/docs/transformers/model_doc/llama (LlamaForSequenceClassification)
"""

import dataclasses
import json
import pathlib
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from bsm_jax import model as model_lib
from bsm_jax import tokenizer
from bsm_jax.evaluation.finetune import head as head_lib
from bsm_jax.export import card, check, folder, llama
from bsm_jax.model import ModelConfig

SCORE = "score.weight"


class ClassifierError(ValueError):
  """A fine-tuned model that the class cannot express; the message says why, and the remedy."""


@dataclasses.dataclass(frozen=True)
class Classifier:
  """A fine-tuned model.

  Attributes:
    about: what fine-tuning kept of it: `task`, `version`, `loss`, `classes`, `kinds`, `max_length`, `checkpoint`, …
    model: the decoder's shape.
    params: of the decoder, what was trained of it included.
    score: fp32 [labels, d_model].
  """

  about: dict
  model: ModelConfig
  params: dict
  score: np.ndarray

  @property
  def labels(self) -> list[str]:
    """Names of the rows of `score`."""
    return list(self.about["classes"]) or ["value"]


def read(path: str) -> Classifier:
  """What `bsm_jax.evaluation.finetune.run --config.save=True` wrote for a seed.

  Raises:
    ClassifierError: it cannot be read, or is none that the class can express.
  """
  try:
    with epath.Path(path).open("rb") as file, np.load(file) as found:
      arrays = {name: found[name] for name in found.files}
    about = json.loads(str(arrays.pop("about")))
  except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
    raise ClassifierError(
        f"{path} is no fine-tuned model ({type(error).__name__}: {error}): give OUT/checkpoint/seed_N.npz of"
        " bsm_jax.evaluation.finetune.run, run with --config.save=True"
    ) from error
  if about["vocabulary_hash"] != tokenizer.vocabulary_hash():
    raise ClassifierError(f"{path} has another vocabulary than this version of bsm_jax: export it with its own")
  if about["pool"] != "last":
    raise ClassifierError(
        f"{path} pools with pool={about['pool']}, and LlamaForSequenceClassification takes the last token only:"
        " fine-tune with --config.pool=last"
    )
  if "head/bias" in arrays:
    raise ClassifierError(
        f"{path} has a head with a bias, and LlamaForSequenceClassification has none: fine-tune with"
        " --config.head_bias=False"
    )
  weight = arrays["head/weight"].T  # [outputs, d_model]
  if about["loss"] == "bce":
    weight = np.concatenate([np.zeros_like(weight), weight])
  elif about["loss"] == "mse":
    weight = weight * np.float32(about["scale"])
  params = {"layers": {}}
  for name, array in arrays.items():
    match name.split("/"):
      case ["decoder", "layers", layer, matrix]:
        params["layers"].setdefault(layer, {})[matrix] = array
      case ["decoder", matrix]:
        params[matrix] = array
  return Classifier(about, ModelConfig(**about["model"]), params, weight)


def export(path: str, out: str, *, dtype: np.dtype, max_shard_bytes: int, overwrite: bool = False) -> list[str]:
  """Writes a fine-tuned model as a Hugging Face folder and proves that it is the same.

  Args:
    path: see `read`.
    out: the folder, local; absent or empty.
    dtype: of the tensors.
    max_shard_bytes: of one file of tensors.
    overwrite: replace an earlier export in `out`, once the new one is proven.

  Returns:
    what the comparison found, as the card says it.

  Raises:
    ClassifierError, CheckError, FolderError: see the message.
  """
  check.require_packages()
  of = read(path)
  with folder.as_a_whole(out, overwrite=overwrite) as place:
    read_part = lambda part: llama.part_of(of.params, part)
    folder.write_tensors(place, of.model, read_part, dtype, max_shard_bytes, {SCORE: of.score})
    folder.write_json(place / "config.json", to_config(of, dtype.name))
    tokenizer.write_hugging_face(place, model_max_length=of.about["max_length"], classifier=True)
    folder.write_json(place / folder.ABOUT, of.about)
    checks = [compare(of, place, dtype)]
    text = card.write_classifier(pathlib.Path(out).resolve().name, of.about, of.labels, checks)
    (place / "README.md").write_text(text)
  return checks


def to_config(of: Classifier, dtype: str) -> dict:
  """`config.json`."""
  names = dict(enumerate(of.labels))
  return llama.to_config(of.model, max(of.about["context"], of.about["max_length"]), dtype) | {
      "architectures": ["LlamaForSequenceClassification"],
      "id2label": {str(number): name for number, name in names.items()},
      "label2id": {name: number for number, name in names.items()},
      "problem_type": "regression" if of.about["loss"] == "mse" else "single_label_classification",
  }


def compare(of: Classifier, place: pathlib.Path, dtype: np.dtype) -> str:
  """Outputs of `check.documents` in PyTorch against JAX, in fp32, as a sentence.

  Raises:
    ClassifierError: they differ by more than `check.TOLERANCE` of the greatest.
  """
  asked = check.documents(min(of.about["context"], of.about["max_length"]))
  rounded = lambda x: jnp.asarray(np.asarray(x).astype(dtype).astype(np.float32))
  expected = jax_outputs(jax.tree.map(rounded, of.params), rounded(of.score), of.model, asked)
  found = torch_outputs(place, asked)
  worst = max(float(np.abs(one - expected).max()) for one in found) / float(np.abs(expected).max())
  if not worst <= check.TOLERANCE:
    raise ClassifierError(
        f"PyTorch does not compute what JAX does, so nothing was written: outputs differ by {worst:.1e} of the"
        f" greatest, at most {check.TOLERANCE:g} is expected. Report it, with the versions of both."
    )
  return (f"Outputs for {len(asked)} fixed documents, computed in fp32 by transformers and by JAX from these weights,"
          f" differ by at most {worst:.1e} of the greatest; token ids are equal.")  # fmt: skip


def jax_outputs(params: dict, score: jax.Array, model: ModelConfig, asked: dict[str, check.Document]) -> np.ndarray:
  """fp32 [documents, labels], computed in fp32 on the CPU."""
  device = jax.local_devices(backend="cpu")[0]
  model = dataclasses.replace(model, dtype="float32", remat="none", scan=False)
  features = model_lib.make_features(model, model_lib.choose_kernels(model, device))
  tokens = [tokenizer.encode_document(document) for document in asked.values()]
  longest = max(map(len, tokens))
  rows = np.stack([np.pad(x, (0, longest - len(x)), constant_values=tokenizer.PAD) for x in tokens]).astype(np.int32)
  pooled = jax.jit(lambda params, rows: head_lib.pool_features(head_lib.HeadConfig(), features, params, rows))
  with jax.default_device(device):
    return np.asarray(jnp.matmul(pooled(params, rows), score.T, precision="highest"))


def torch_outputs(place: pathlib.Path, asked: dict[str, check.Document]) -> list[np.ndarray]:
  """The same from the folder: each document alone, and all of them in one padded batch.

  Raises:
    CheckError: the folder's tokenizer gives other ids than ours, or the folder does not load.
  """
  import torch
  import transformers

  transformers.utils.logging.set_verbosity_error()
  transformers.utils.logging.disable_progress_bar()
  try:
    reader = transformers.AutoTokenizer.from_pretrained(place, local_files_only=True)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        place, dtype=torch.float32, local_files_only=True
    ).eval()
  except Exception as error:  # Whatever transformers says of a file, the folder is not what it has to be.
    version = transformers.__version__
    raise check.CheckError(f"transformers {version} cannot load what was written: {error!r}") from error
  for name, document in asked.items():
    theirs = reader(*(tokenizer.document_text([part]) for part in document))["input_ids"]
    if theirs != tokenizer.encode_document(document).tolist():
      raise check.CheckError(f"the tokenizer reads {name!r} otherwise than ours: {theirs[:12]}...")
  texts = [tokenizer.document_text(document) for document in asked.values()]
  with torch.inference_mode():
    alone = [model(**reader(text, return_tensors="pt")).logits.numpy() for text in texts]
    return [np.concatenate(alone), model(**reader(texts, padding=True, return_tensors="pt")).logits.numpy()]
