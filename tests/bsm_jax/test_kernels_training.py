"""Training with the kernels is training with the reference: losses step by step, on rows of real sequences."""

import itertools
import pathlib

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from bsm_jax import sharding, tokenizer
from bsm_jax.training import program
from configs import miniature
from data_pipelines import pack
from data_pipelines.formats import fasta
from tests.bsm_jax.sample_rows import batch_of_rows, random_documents

CONTEXT, BATCH = 256, 4


def real_rows(shared_data: pathlib.Path, count: int) -> np.ndarray:
  """Rows of E. coli's proteins and of windows of its genome."""
  folder = shared_data / "genomes" / "ecoli_mg1655"
  proteins = (r.sequence[:200] for r in fasta.read_fasta(next(folder.glob("*.faa.gz"))))
  genome = next(fasta.read_fasta(next(folder.glob("*genomic.fna.gz")))).sequence
  windows = (genome[start : start + 90].lower() for start in range(0, len(genome), 5000))
  documents = itertools.chain.from_iterable(
      (
          tokenizer.encode_document([(tokenizer.Modality.PROTEIN, protein)]),
          tokenizer.encode_document([(tokenizer.Modality.DNA, window)]),
      )
      for protein, window in zip(proteins, windows)
  )
  rows = itertools.islice(pack.pack(documents, CONTEXT), count)
  return np.stack([np.frombuffer(row, np.uint8) for row in rows])


def losses(rows: np.ndarray, steps: int, **changes) -> np.ndarray:
  config = miniature.get_config()
  config.model.update({"n_layers": 2, "n_heads": 2, "d_model": 128, "head_dim": 64, "d_ff": 256, **changes})
  config.data.update({"context": CONTEXT, "batch_size": BATCH})
  config.rounds = ConfigDict({
      "only": {"tokens": steps * BATCH * CONTEXT, "weights": {"rows": 1.0}, "lr_start": 1e-3, "lr_end": 0.0,
               "warmup_tokens": 0.0},
  })
  run = program.make_program(config, sharding.make_mesh((1, 1, 1), jax.devices()[:1]))
  state, found = run.init(), []
  for step in range(steps):
    chosen = np.arange(step * BATCH, (step + 1) * BATCH) % len(rows)
    state, metrics = run.train_step(state, jax.device_put(batch_of_rows(rows[chosen]), run.batch_sharding))
    found.append(float(metrics["loss"]))
  return np.array(found)


KERNELS = {"attention": "tpu_interpret", "blocks": "tpu_interpret"}


def test_ten_steps_with_the_kernels_have_the_references_losses():
  rng = np.random.default_rng(0)
  packed = pack.pack(random_documents(rng, 400), CONTEXT)
  rows = np.stack([np.frombuffer(row, np.uint8) for row in itertools.islice(packed, 8)])
  reference = losses(rows, 10, attention="reference", blocks="xla")
  np.testing.assert_allclose(losses(rows, 10, **KERNELS), reference, rtol=1e-5)
  assert reference[-1] < reference[0] - 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kernels", [KERNELS, {"attention": "gpu_interpret", "blocks": "xla"}], ids=["tpu", "gpu"])
def test_200_steps_on_real_rows_with_the_kernels_have_the_references_losses(shared_data, kernels):
  rows = real_rows(shared_data, 400)
  reference = losses(rows, 200, attention="reference", blocks="xla")
  found = losses(rows, 200, **kernels)
  bf16 = losses(rows, 200, **kernels, dtype="bfloat16")
  deviation = lambda a: np.abs(a - reference).max()
  print(
      f"\nloss {reference[0]:.4f} -> {reference[-1]:.4f}; largest difference in 200 steps: kernels in fp32"
      f" {deviation(found):.2e}, in bf16 {deviation(bf16):.2e}"
  )
  # Rounding grows from step to step as training amplifies it.
  np.testing.assert_allclose(found, reference, atol=2e-3)
  np.testing.assert_allclose(bf16, reference, atol=3e-2)
