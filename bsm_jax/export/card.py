"""The model card (`README.md` of the folder): what the model is, how it was trained, how to use it.

Front matter: https://huggingface.co/docs/hub/model-cards
"""

import dataclasses
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from bsm_jax.model import ModelConfig
from bsm_jax.training import program as program_lib

_FRONT_MATTER = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags:
- biology
- genomics
- dna
- rna
- protein
- llama
- bsm_jax
---
"""

_USE = '''## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "{folder}"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
prompt = tokenizer("<dna>atgaaacgcattagcaccacc<sep><protein>", return_tensors="pt")
output = model.generate(**prompt, max_new_tokens=16)
print(tokenizer.decode(output[0]))
```

Nothing else is needed: the layout is Llama's, there is no remote code.

## Text

A document is one or more typed sequences that belong together: `<bos><dna>...<sep><rna>...<sep><protein>...<eos>`, in
any order. Every sequence begins with its tag. Nucleotides are lower case (`a c g t n`; `u` is read as `t`, other IUPAC
codes as `n`), amino acids are upper case (20, `U O B Z X J`, and `*`): the two alphabets share no token, and upper-case
nucleotides would be read as amino acids. The tokenizer puts `<bos>` first. Write `<eos>` yourself behind a whole
document, for example to score it. Batches are padded on the left.
'''


_USE_CLASSIFIER = '''## Use

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = AutoModelForSequenceClassification.from_pretrained("{folder}")
inputs = tokenizer({example}, return_tensors="pt", truncation=True)
print(model(**inputs).logits{softmax})
```

Sequences stand in the order of training ({order}), each behind its tag, `<dna>`, `<rna>` or `<protein>`; a second one
is the second argument. The tokenizer makes a document of them, `<bos><dna>...<sep><protein>...<eos>`: of these write
the tags only. Nucleotides are lower case, amino acids upper case. `truncation=True` cuts what exceeds {max_length}
tokens at the right end, the longer sequence first.
'''


@dataclasses.dataclass(frozen=True)
class Facts:
  """What a card tells.

  Attributes:
    name: of the folder.
    model: the shape.
    parameters: how many, the embedding's padding rows left out.
    dtype: of the written tensors.
    step: of the checkpoint.
    meta: of the checkpoint (`bsm_jax.training.checkpoint`).
    validation: the last line of the run's metrics that is of kind "valid", {} if there is none.
    checks: sentences about the comparison with JAX.
  """

  name: str
  model: ModelConfig
  parameters: int
  dtype: str
  step: int
  meta: dict
  validation: dict
  checks: Sequence[str]


def _table(head: Sequence[str], rows: Sequence[Sequence]) -> str:
  return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, ["---"] * len(head), *rows])


def write(facts: Facts) -> str:
  """The text of `README.md`."""
  m, meta = facts.model, facts.meta
  config = ConfigDict(meta["config"])
  plan = program_lib.schedule(config)
  sizes = _table(
      ("layers", "heads", "d_model", "head_dim", "d_ff", "vocabulary", "context", "parameters"),
      [(m.n_layers, m.n_heads, m.d_model, m.head_dim, m.d_ff, m.vocab_size, config.data.context,
        f"{facts.parameters:,}")],
  )  # fmt: skip
  rounds = _table(
      ("round", "tokens", "steps", "learning rate", "mixture (parts of the tokens)"),
      [(r.name, f"{steps * plan.tokens_per_step:,}", f"{steps:,}", f"{r.lr_start:g} to {r.lr_end:g}",
        ", ".join(f"{name} {weight / sum(r.weights.values()):.3g}" for name, weight in r.weights.items()))
       for r, steps in zip(plan.rounds, plan.steps)],
  )  # fmt: skip
  rows = _table(("row set", "rows drawn", "tokens"), [
      (name, f"{count:,}", f"{count * config.data.context:,}") for name, count in meta["rows"].items()
  ])  # fmt: skip
  across = "crosses" if config.data.attend_across_documents else "does not cross"
  sections = [
      f"{_FRONT_MATTER}\n# {facts.name}",
      "A small language model of DNA, RNA and protein, trained with bsm_jax, an implementation of BSM (Xiang, Han,"
      " Chai, Bai, [arXiv 2410.11499](https://arxiv.org/abs/2410.11499)).",
      sizes,
      f"RMSNorm, rotary positions (base {m.rope_theta:g}), SwiGLU, no biases, tied embedding; in {facts.dtype}.",
      _USE.format(folder=facts.name).rstrip(),
      "## Training",
      f"Step {facts.step:,} of {plan.total_steps:,} (in {meta['round']}), {meta['tokens']:,} tokens in batches of"
      f" {config.data.batch_size:,} rows of {config.data.context:,}. Attention {across} documents within a row.",
      *(["The run began with the parameters of an earlier one, whose rows are counted below."]
        if meta["drawn_before"] else []),
      rounds,
      *([rows] if meta["rows"] else []),
  ]
  figures = [(name.removeprefix("valid/").replace("/", ": "), f"{value:.4f}") for name, value in
             sorted(facts.validation.items()) if name.startswith("valid/") and not name.endswith(("/loss", "/special"))]
  if figures:
    sections += [f"Validation at step {facts.validation['step']:,}, bits per residue:",
                 _table(("row set: modality", "bits"), figures)]  # fmt: skip
  sections += [
      "## Checked",
      "\n".join(f"- {sentence}" for sentence in facts.checks),
      f"The vocabulary's sha256 is `{meta['vocabulary_hash']}`. `bsm_jax.json` holds the run's config, with which"
      " `python -m bsm_jax.torch_export --from_torch` makes this folder a trainable checkpoint again.",
  ]
  return "\n\n".join(sections) + "\n"


def write_classifier(name: str, about: Mapping, labels: Sequence[str], checks: Sequence[str]) -> str:
  """The text of `README.md` of a fine-tuned model.

  Args:
    name: of the folder.
    about: what fine-tuning kept of it; see `classifier.Classifier`.
    labels: of its outputs.
    checks: sentences about the comparison with JAX.
  """
  letters = {"dna": "atggctaaa", "rna": "augguuaaa", "protein": "MAK"}
  kinds = about["kinds"]
  example = ", ".join(f'"<{kind}>{letters[kind]}"' for kind in kinds)
  is_number = about["loss"] == "mse"
  use = _USE_CLASSIFIER.format(
      folder=name, example=example, order=", ".join(kinds), max_length=about["max_length"],
      softmax="" if is_number else ".softmax(-1), model.config.id2label",
  )  # fmt: skip
  what = "a number" if is_number else f"{len(labels)} classes: {', '.join(labels[:20])}{', …' * (len(labels) > 20)}"
  return "\n\n".join([
      _FRONT_MATTER.replace("text-generation", "text-classification") + f"\n# {name}",
      f"A small language model of DNA, RNA and protein, fine-tuned with bsm_jax on {about['task']} (version"
      f" {about['version']}): {what}.",
      use.rstrip(),
      "## Training",
      f"From step {about['checkpoint']['step']} of a run whose parameters have the sha256"
      f" `{about['checkpoint']['sha256']}`; mode {about['mode']}, seed {about['seed']}, the best on development data,"
      f" step {about['best_step']}. `bsm_jax.json` holds the rest.",
      "## Checked",
      "\n".join(f"- {sentence}" for sentence in checks),
  ]) + "\n"
