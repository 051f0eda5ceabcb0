"""What a packed row says beyond its tokens: segments, positions, targets, modalities.

Derived on the device, never stored. All functions take tokens [..., context] of any integer dtype and return arrays of
that shape.
"""

import jax
import jax.numpy as jnp

from bsm_jax import tokenizer


def segment_ids(tokens: jax.Array) -> jax.Array:
  """int32: 0 on padding; otherwise counts the documents of the row, a new one at each `<bos>`."""
  started = jnp.cumsum((tokens == tokenizer.BOS).astype(jnp.int32), axis=-1)
  return jnp.where(tokens == tokenizer.PAD, 0, started + 1)


def _last_where(mask: jax.Array) -> jax.Array:
  """Index of the last true entry at or before each position, 0 where there is none yet."""
  index = jax.lax.broadcasted_iota(jnp.int32, mask.shape, mask.ndim - 1)
  return jax.lax.cummax(jnp.where(mask, index, 0), axis=mask.ndim - 1)


def positions(tokens: jax.Array) -> jax.Array:
  """int32: distance from the document's `<bos>` (from the row's start, for a row that continues a document)."""
  index = jax.lax.broadcasted_iota(jnp.int32, tokens.shape, tokens.ndim - 1)
  return index - _last_where(tokens == tokenizer.BOS)


def next_tokens(tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Targets and which of them count: nothing predicts a `<bos>` or padding, nor what lies beyond the row.

  Returns:
    targets, of the tokens' dtype, and a bool mask.
  """
  targets = jnp.concatenate([tokens[..., 1:], jnp.full_like(tokens[..., :1], tokenizer.PAD)], axis=-1)
  return targets, (targets != tokenizer.BOS) & (targets != tokenizer.PAD)


def modalities(tokens: jax.Array) -> jax.Array:
  """int32: the tag id (`tokenizer.Modality`) of the sequence that each letter belongs to; 0 on everything else.

  Letters before the first tag of a row that continues a sequence have 0 too: their tag stands in another row.
  """
  is_tag = (tokens >= min(tokenizer.Modality)) & (tokens <= max(tokenizer.Modality))
  tag = jnp.take_along_axis(jnp.where(is_tag, tokens, 0).astype(jnp.int32), _last_where(is_tag), axis=-1)
  is_letter = (tokens >= tokenizer.FIRST_NUCLEOTIDE) | (tokens == tokenizer.UNK)
  return jnp.where(is_letter, tag, 0)
