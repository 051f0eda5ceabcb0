"""Attention written out plainly: what every other implementation is tested against."""

import jax
import jax.numpy as jnp

# Finite, so that a row whose scores are all masked stays free of NaN; far below any real score.
MASKED = -1e30


def attention(q_bshd: jax.Array, k_bshd: jax.Array, v_bshd: jax.Array, segment_ids_bs: jax.Array) -> jax.Array:
  """Causal attention inside segments of rotated queries and keys; see `bsm_jax.kernels.attention`.

  Args:
    q_bshd, k_bshd, v_bshd: [batch, sequence, heads, head_dim].
    segment_ids_bs: int32 [batch, sequence].

  Returns:
    [batch, sequence, heads, head_dim]. Scores and softmax are fp32; memory grows with sequence squared.
  """
  length, head_dim = q_bshd.shape[1], q_bshd.shape[3]
  scores_bhqk = jnp.einsum("bqhd,bkhd->bhqk", q_bshd, k_bshd, preferred_element_type=jnp.float32) * head_dim**-0.5
  causal_qk = jnp.tril(jnp.ones((length, length), bool))
  same_segment_bqk = segment_ids_bs[:, :, None] == segment_ids_bs[:, None, :]
  mask_b1qk = (causal_qk[None] & same_segment_bqk)[:, None]
  weights_bhqk = jax.nn.softmax(jnp.where(mask_b1qk, scores_bhqk, MASKED), axis=-1).astype(v_bshd.dtype)
  return jnp.einsum("bhqk,bkhd->bqhd", weights_bhqk, v_bshd)
