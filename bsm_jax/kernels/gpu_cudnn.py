"""Attention on GPUs by cuDNN, through JAX's public function.

That function knows no segments. They go in as a mask, which cuDNN takes as an additive bias [b, 1, s, s]: read once a
head in the forward and in the backward, which also writes a gradient for it. Only the upper triangle is skipped, never
another segment. cuDNN's packed layout would skip, but is not public in JAX, needs Hopper and a fixed bound on the
segments of a row, and keeps fp32 statistics [b * bound, h, s].
"""

import jax
import jax.numpy as jnp


def attention(q_bshd: jax.Array, k_bshd: jax.Array, v_bshd: jax.Array, segment_ids_bs: jax.Array) -> jax.Array:
  """Causal self-attention inside segments, scaled by `head_dim ** -0.5`.

  Args:
    q_bshd, k_bshd, v_bshd: bf16 or fp16 [b, s, h, d] with d a multiple of 8; s must be even for gradients.
    segment_ids_bs: int [b, s].

  Returns:
    [b, s, h, d] of q's dtype.

  Raises:
    ValueError: fp32, which cuDNN does not take.
    RuntimeError, NotImplementedError: from JAX, where there is no cuDNN, or for a shape that it does not take.
  """
  if q_bshd.dtype not in (jnp.bfloat16, jnp.float16):
    raise ValueError(f"cuDNN's attention takes bfloat16 or float16, not {q_bshd.dtype}: cast, or use kernels.gpu")
  same_segment_b1qk = (segment_ids_bs[:, :, None] == segment_ids_bs[:, None, :])[:, None]
  return jax.nn.dot_product_attention(
      q_bshd, k_bshd, v_bshd, mask=same_segment_b1qk, is_causal=True, implementation="cudnn"
  )
