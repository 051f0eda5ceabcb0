"""What a model makes of a sequence: features of its last layer, one vector a sequence or one a letter."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bsm_jax import model as model_lib
from bsm_jax.inference import batches as batches_lib
from bsm_jax.inference import documents as documents_lib
from bsm_jax.inference.documents import Document
from bsm_jax.inference.loaded import Model
from bsm_jax.input import segments

POOLS = ("mean", "last", "residue")


def _features(model: Model) -> Callable[[np.ndarray], jax.Array]:
  """Batches uint8 [b, s] to normed features of the last layer, fp32 [b, s, d]."""
  if "features" not in model.compiled:
    apply = model_lib.make_features(model.config, model.ops)

    def features(params, tokens_bs):
      x_nd = apply(params, tokens_bs, segments.segment_ids(tokens_bs), segments.positions(tokens_bs))
      return x_nd.astype(jnp.float32).reshape(*tokens_bs.shape, -1)

    model.compiled["features"] = jax.jit(features, out_shardings=model.by_row)
  return lambda tokens: model.compiled["features"](model.params, jax.device_put(tokens, model.by_row))


@jax.jit
def _sums(features_bsd: jax.Array, weights_bs: jax.Array) -> jax.Array:
  return jnp.einsum("bsd,bs->bd", features_bsd, weights_bs, precision="highest")


def embeddings(
    model: Model,
    documents: Sequence[Document],
    *,
    pool: str = "mean",
    cut: bool = True,
    lenient: bool = False,
    max_tokens_per_batch: int | None = None,
    names: Sequence[str] = (),
    progress: Callable[[int], object] = lambda letters: None,
) -> np.ndarray | list[np.ndarray]:
  """Normed features of the last layer, what the logits are read from, at the letters of documents.

  The feature at a letter has seen it and all before it. Of a sequence beyond the context each letter's is from the
  window (`documents.windows`) that speaks for it.

  Args:
    model: what `load` gives.
    documents: typed sequences.
    pool: "mean" over all letters; "last", the last letter's; or "residue", each letter's.
    cut, lenient, max_tokens_per_batch, names, progress: see `likelihoods`.

  Returns:
    fp32 [documents, d_model]; for "residue" a list of fp32 [letters, d_model], sequences of a document in their order.

  Raises:
    InputError, TokenizerError: see `documents.encode` and `documents.windows`.
  """
  if pool not in POOLS:
    raise documents_lib.InputError(f"unknown pool {pool!r}: use one of {', '.join(POOLS)}")
  names = names or [f"document {number}" for number in range(1, len(documents) + 1)]
  encoded = [documents_lib.encode(d, lenient=lenient, name=name) for d, name in zip(documents, names, strict=True)]
  sizes = [sum(len(letters) for _, letters in document) for document in encoded]
  rows = batches_lib.cut_to_rows(encoded, names, model.context, cut=cut)
  max_tokens = max_tokens_per_batch or model.tokens_per_batch
  run, d = _features(model), model.config.d_model
  if pool == "residue":
    found = [np.empty((size, d), np.float32) for size in sizes]
  else:
    found = np.zeros((len(documents), d), np.float32)
  lengths = batches_lib.bucket_lengths(model.context)
  for batch in batches_lib.batches([row.window.tokens for row in rows], lengths, max_tokens, model.places):
    features_bsd = run(batch.tokens)
    members = [rows[row] for row in batch.rows]
    if pool == "residue":
      for features_sd, (number, window) in zip(np.asarray(features_bsd), members):
        found[number][window.letters] = features_sd[window.at]
    else:
      weights = np.zeros(batch.tokens.shape, np.float32)
      for row, (number, window) in enumerate(members):
        if pool == "mean":
          weights[row, window.at] = 1 / sizes[number]
        elif window.letters.stop == sizes[number]:
          weights[row, window.at[-1]] = 1.0
      np.add.at(found, [number for number, _ in members], np.asarray(_sums(features_bsd, weights))[: len(members)])
    progress(sum(len(window.at) for _, window in members))
  return found
