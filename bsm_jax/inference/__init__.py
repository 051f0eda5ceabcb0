"""Scores, embeddings and new sequences from a trained model; each also has a command line.

  from bsm_jax import inference
  model = inference.load("RUN")
  print([found.mean for found in inference.likelihoods(model, [[("protein", "MKTAYIAKQR")]])])
  print(inference.embeddings(model, [[("dna", "atggcc")]]).shape)
  print(inference.sample(model, [[("dna", "atggctaaatga")]], "protein", seed=1)[0].letters)
"""

from bsm_jax.inference.documents import Document, InputError, encode
from bsm_jax.inference.embedding import embeddings
from bsm_jax.inference.generation import Sample, Settings, sample
from bsm_jax.inference.likelihood import Likelihood, likelihoods, likelihoods_behind
from bsm_jax.inference.loaded import Model, load

__all__ = [
    "Document", "InputError", "Likelihood", "Model", "Sample", "Settings", "embeddings", "encode", "likelihoods",
    "likelihoods_behind", "load", "sample",
]  # fmt: skip
