"""Scoring and generation beside Hugging Face transformers: same weights, sequences and cores, in turns; run by hand.

  python -m tests.benchmarks.inference                                          # miniature and 110M shapes, on the CPU
  python -m tests.benchmarks.inference --shapes=110m,270m --device=gpu --dtype=bfloat16

Scores: proteins of 50 to 900 residues, in sorted batches with padding behind them on both sides. Before anything is
timed, both have to give the same log-likelihoods. Generation: every row draws the same number of tokens behind prompts
of unequal length, with a cache of keys and values; ours from amino acids alone, transformers' from the whole
vocabulary. The first call of each, which compiles, is not timed. Printed are letters a second, and the ratio ours /
transformers' of the same turn: median, least and greatest.

On a machine that others use, PyTorch's threads spin while they wait for one another, which flatters us: set
OMP_WAIT_POLICY=passive.
"""

import json
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
import torch
from absl import app, flags
from ml_collections import ConfigDict

from bsm_jax import inference, sharding, tokenizer
from bsm_jax import model as model_lib
from bsm_jax.export import llama
from bsm_jax.tokenizer import Modality
from bsm_jax.training import program as program_lib
from configs import bsm_110m, bsm_270m, miniature

SHAPES = {"miniature": miniature, "110m": bsm_110m, "270m": bsm_270m}


def make_models(config: ConfigDict, dtype: str, device: str):
  """A random model here, and the same one in transformers."""
  import transformers  # pylint: disable=g-import-not-at-top

  config.model.update({"dtype": dtype, "remat": "none"})
  shape = program_lib.model_config(config)
  # Norms and matrices far from their first values, so that a wrong one would be seen.
  rng = np.random.default_rng(0)
  params = jax.tree.map(
      lambda x: np.asarray(x) * (1 + 0.2 * rng.standard_normal(x.shape, np.float32)), model_lib.init_params(shape, 0)
  )
  mesh = sharding.make_mesh((-1, 1, 1), slices=1)
  ours = inference.Model(shape, jax.device_put(params, sharding.replicated(mesh)), config.data.context, mesh)
  settings = llama.to_config(shape, config.data.context, dtype)
  settings = {key: value for key, value in settings.items() if key not in ("rope_theta", "torch_dtype")}
  theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings))
  state = {
      name: torch.from_numpy(np.array(tensor))
      for part in llama.parts(shape)
      for name, tensor in llama.tensors(llama.part_of(params, part), shape).items()
  }
  theirs.load_state_dict(state | {"lm_head.weight": state["model.embed_tokens.weight"]})
  place = "cuda" if device == "gpu" else "cpu"
  return ours, theirs.to(place, getattr(torch, dtype)).eval()


def make_proteins(count: int, most: int) -> list[str]:
  rng = np.random.default_rng(1)
  letters = np.array(list(tokenizer.AMINO_ACIDS))
  return ["".join(rng.choice(letters, n)) for n in rng.integers(50, most, count)]


@torch.inference_mode()
def score_with_transformers(model, proteins: list[str], max_tokens: int) -> np.ndarray:
  """Log-likelihood of each protein; batches of like length, whose padded tokens stay below `max_tokens`."""
  rows = [
      tokenizer.join_document([(Modality.PROTEIN, tokenizer.encode(p, Modality.PROTEIN))], eos=False) for p in proteins
  ]
  order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
  found, start = np.zeros(len(rows)), 0
  while start < len(order):
    members = order[start : start + max(1, max_tokens // len(rows[order[start]]))]
    start += len(members)
    tokens = torch.full((len(members), len(rows[members[0]])), tokenizer.PAD, device=model.device)
    for row, number in enumerate(members):
      tokens[row, : len(rows[number])] = torch.from_numpy(rows[number].astype(np.int64))
    logits = model(tokens, attention_mask=(tokens != tokenizer.PAD).long()).logits
    of_next = torch.log_softmax(logits[:, 1:-1].float(), -1).gather(2, tokens[:, 2:, None])[..., 0]
    found[members] = (of_next * (tokens[:, 2:] != tokenizer.PAD)).sum(1).cpu().numpy()
  return found


@torch.inference_mode()
def generate_with_transformers(model, genes: list[str], new: int) -> None:
  rows = [
      tokenizer.join_document([(Modality.DNA, tokenizer.encode(gene, Modality.DNA)), (Modality.PROTEIN, [])], eos=False)
      for gene in genes
  ]
  longest = max(map(len, rows))
  tokens = torch.full((len(rows), longest), tokenizer.PAD, device=model.device)
  for row, of_row in enumerate(rows):
    tokens[row, longest - len(of_row) :] = torch.from_numpy(of_row.astype(np.int64))
  model.generate(
      tokens, attention_mask=(tokens != tokenizer.PAD).long(), do_sample=True, min_new_tokens=new, max_new_tokens=new,
      pad_token_id=tokenizer.PAD, eos_token_id=tokenizer.EOS,
  )  # fmt: skip


def compare(turns: int, letters: int, ours: Callable[[], None], theirs: Callable[[], None]) -> dict[str, float]:
  """Times both in turns. Returns letters a second of each, and the ratio of speeds: median, least, greatest."""
  seconds = {"ours": [], "transformers": []}
  for run in (ours, theirs):
    run()
  for _ in range(turns):
    for name, run in (("ours", ours), ("transformers", theirs)):
      start = time.perf_counter()
      run()
      seconds[name].append(time.perf_counter() - start)
  ratios = [b / a for a, b in zip(seconds["ours"], seconds["transformers"])]
  return {f"{name} letters/s": letters / statistics.median(times) for name, times in seconds.items()} | {
      "ratio": statistics.median(ratios), "least": min(ratios), "greatest": max(ratios),
  }  # fmt: skip


def measure(name: str, values) -> None:
  """Runs and prints both tasks at one shape. Args: of `SHAPES`; the flags."""
  ours, theirs = make_models(SHAPES[name].get_config(), values.dtype, values.device)
  proteins = make_proteins(values.sequences, min(900, ours.context - 2))
  documents = [[("protein", protein)] for protein in proteins]
  max_tokens = values.max_tokens or ours.tokens_per_batch
  score = lambda: [one.total for one in inference.likelihoods(ours, documents, max_tokens_per_batch=max_tokens)]
  score_theirs = lambda: score_with_transformers(theirs, proteins, max_tokens)
  difference = float(np.abs(np.array(score()) / score_theirs() - 1).max())
  if difference > {"float32": 1e-4, "bfloat16": 1e-2}[values.dtype]:
    raise SystemExit(f"{name}: log-likelihoods differ by {difference:.2g}: the comparison is void")
  found = compare(values.turns, sum(map(len, proteins)), score, score_theirs)
  print(json.dumps({"shape": name, "task": "score", "difference": difference, "batch tokens": max_tokens} | found))

  rng, new = np.random.default_rng(2), values.new
  genes = ["".join(rng.choice(list("acgt"), n)) for n in rng.integers(60, 120, values.rows)]
  prompts = [[("dna", gene)] for gene in genes]
  settings = inference.Settings(max_length=new, min_length=new)
  all_at_once = values.rows * (128 + new)
  generate = lambda: inference.sample(ours, prompts, "protein", settings, max_tokens_per_batch=all_at_once)
  found = compare(values.turns, values.rows * new, generate, lambda: generate_with_transformers(theirs, genes, new))
  print(json.dumps({"shape": name, "task": "generate", "rows": values.rows, "new": new} | found))


def main(argv) -> None:
  del argv
  values = flags.FLAGS
  if values.threads:
    torch.set_num_threads(values.threads)
  for name in values.shapes:
    measure(name, values)


if __name__ == "__main__":
  flags.DEFINE_list("shapes", ["miniature", "110m"], f"Among {', '.join(SHAPES)}.")
  flags.DEFINE_enum("device", "cpu", ["cpu", "gpu"], "Where both run.")
  flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of weights in transformers, activations here.")
  flags.DEFINE_integer("sequences", 256, "Proteins to score.")
  flags.DEFINE_integer("rows", 16, "Sequences generated at a time.")
  flags.DEFINE_integer("new", 100, "Letters of each.")
  flags.DEFINE_integer("max_tokens", None, "Of a batch that is scored; by default what suits us.")
  flags.DEFINE_integer("turns", 3, "Turns of each task.")
  flags.DEFINE_integer("threads", 0, "PyTorch's threads; 0 for its choice.")
  app.run(main)
