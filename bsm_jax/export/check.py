"""Is a written folder the same model? Logits of fixed documents in transformers (PyTorch) against JAX's, in fp32."""

import dataclasses
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from bsm_jax import model as model_lib
from bsm_jax import tokenizer
from bsm_jax.input import segments
from bsm_jax.model import ModelConfig
from bsm_jax.tokenizer import Modality

# Greatest difference of logits that sums in another order make, relative to a document's greatest logit. Seen: 3e-6.
TOLERANCE = 1e-4

Document = Sequence[tuple[Modality, str]]


class CheckError(ValueError):
  """A folder that does not compute what the checkpoint does, or one that cannot be checked."""


@dataclasses.dataclass(frozen=True)
class Deviation:
  """The greatest difference between two sets of logits.

  Attributes:
    relative: to the greatest logit of that document; infinite where a logit is not finite.
    document: its name.
    position: of the token whose next one is predicted, from 0.
    expected, found: the logit there.
  """

  relative: float
  document: str
  position: int
  expected: float
  found: float

  def __str__(self) -> str:
    return (f"{self.relative:.2g} of the greatest logit, in the document {self.document!r} at token {self.position}:"
            f" {self.found:.6g} instead of {self.expected:.6g}")  # fmt: skip


def require_packages() -> None:
  """Raises CheckError if PyTorch or transformers are not installed."""
  try:
    import safetensors  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401
  except ImportError as error:
    raise CheckError(f"an export is checked in PyTorch ({error}): pip install -e '.[export]'") from error


def documents(context: int) -> dict[str, Document]:
  """By name, documents of every modality and of pairs, and one that fills the context; the same at every call."""
  rng = np.random.default_rng(0)
  nucleotides = lambda n: "".join(rng.choice(list(tokenizer.NUCLEOTIDES), n, p=[0.24, 0.24, 0.24, 0.24, 0.04]))
  amino_acids = lambda n: "".join(rng.choice(list(tokenizer.AMINO_ACID_CODES), n))
  short = min(context, 128)
  codons = (short - 6) // 4
  dna, protein = (Modality.DNA, nucleotides(3 * codons)), (Modality.PROTEIN, amino_acids(codons))
  return {
      "DNA": [(Modality.DNA, nucleotides(short - 3))],
      "RNA": [(Modality.RNA, nucleotides(short // 2))],
      "protein": [(Modality.PROTEIN, amino_acids(short // 3))],
      "DNA, then protein": [dna, protein],
      "protein, then DNA": [protein, dna],
      "full context": [(Modality.DNA, nucleotides(context // 2)),
                       (Modality.PROTEIN, amino_acids(context - context // 2 - 5))],
  }  # fmt: skip


def jax_logits(params, config: ModelConfig, asked: dict[str, Document], device: jax.Device) -> dict[str, np.ndarray]:
  """fp32 [tokens, vocab_size] of each document, computed in fp32.

  Args:
    params: see `model.init_params`; on `device`.
    config: the shape; its dtype has no meaning here.
    asked: see `documents`.
    device: where it is computed.
  """
  config = dataclasses.replace(config, dtype="float32", remat="none", scan=False)
  apply = model_lib.make_apply(config, model_lib.choose_kernels(config, device))

  @jax.jit
  def of_row(params, tokens_bs):
    return apply(params, tokens_bs, segments.segment_ids(tokens_bs), segments.positions(tokens_bs))

  tokens = {name: tokenizer.encode_document(document) for name, document in asked.items()}
  longest, found = sorted(len(x) for x in tokens.values()), {}
  for name, document in tokens.items():
    # Two lengths, so two compilations: the longest document's, and one for all others.
    length = longest[-1] if len(document) == longest[-1] else longest[-2]
    row = jax.device_put(np.pad(document, (0, length - len(document))).astype(np.int32)[None], device)
    found[name] = np.asarray(of_row(params, row))[0, : len(document), : config.vocab_size]
  return found


def torch_logits(folder: pathlib.Path, asked: dict[str, Document], dtype: str) -> list[dict[str, np.ndarray]]:
  """The same from a Hugging Face folder: each document alone, then all but the longest in one left-padded batch.

  Args:
    folder: what was written; nothing else is read.
    asked: see `documents`.
    dtype: of the model in PyTorch, "float32" or "bfloat16".

  Raises:
    CheckError: the folder's tokenizer gives other ids than ours, or the folder does not load.
  """
  import torch
  import transformers

  transformers.utils.logging.set_verbosity_error()
  transformers.utils.logging.disable_progress_bar()
  texts = {name: tokenizer.document_text(document) + tokenizer.VOCABULARY[tokenizer.EOS]
           for name, document in asked.items()}  # fmt: skip
  try:
    reader = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), local_files_only=True
    ).eval()
  except Exception as error:  # Whatever transformers says of a file, the folder is not what it has to be.
    raise CheckError(f"transformers {transformers.__version__} cannot load what was written: {error!r}") from error
  for name, document in asked.items():
    ours, theirs = tokenizer.encode_document(document).tolist(), reader(texts[name])["input_ids"]
    if ours != theirs:
      raise CheckError(f"the tokenizer reads {name!r} as {theirs[:12]}..., not as {ours[:12]}...")
  with torch.inference_mode():
    logits = lambda batch: model(**batch, use_cache=False).logits.float().numpy()
    alone = {name: logits(reader(text, return_tensors="pt"))[0] for name, text in texts.items()}
    short = [name for name in texts if len(alone[name]) < max(map(len, alone.values()))]
    batch = logits(reader([texts[name] for name in short], padding=True, return_tensors="pt"))
  return [alone, {f"{name}, in a padded batch": row[-len(alone[name]):] for name, row in zip(short, batch)}]


def compare(expected: dict[str, np.ndarray], found: Sequence[dict[str, np.ndarray]]) -> Deviation:
  """The worst of all documents. Args: `jax_logits`; `torch_logits`."""
  worst = []
  for name, logits in (item for several in found for item in several.items()):
    ours = expected[name.removesuffix(", in a padded batch")]
    difference = np.abs(logits - ours) / np.abs(ours).max()
    difference = np.where(np.isfinite(difference), difference, np.inf)
    at = np.unravel_index(difference.argmax(), difference.shape)
    worst.append(Deviation(float(difference[at]), name, int(at[0]), float(ours[at]), float(logits[at])))
  return max(worst, key=lambda deviation: deviation.relative)
