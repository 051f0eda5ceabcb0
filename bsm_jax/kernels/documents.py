"""Where documents lie in a row: the interval of tokens that each token may attend to."""

import jax
import jax.numpy as jnp


def first_tokens(segment_ids_bs: jax.Array) -> jax.Array:
  """int32 [b, s]: index of the first token of each one's document, a run of equal ids."""
  index_bs = jax.lax.broadcasted_iota(jnp.int32, segment_ids_bs.shape, 1)
  begins_bs = jnp.diff(segment_ids_bs, axis=1, prepend=segment_ids_bs[:, :1] - 1) != 0
  return jax.lax.cummax(jnp.where(begins_bs, index_bs, 0), axis=1)


def last_tokens(segment_ids_bs: jax.Array) -> jax.Array:
  """int32 [b, s]: index of the last token of each one's document."""
  return segment_ids_bs.shape[1] - 1 - first_tokens(segment_ids_bs[:, ::-1])[:, ::-1]
