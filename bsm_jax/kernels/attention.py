"""The one entry to attention; implementations are chosen by name."""

import jax

from bsm_jax.kernels import reference

IMPLEMENTATIONS = {"reference": reference.attention}


def attention(
    q_bshd: jax.Array, k_bshd: jax.Array, v_bshd: jax.Array, segment_ids_bs: jax.Array, *, implementation: str = "auto"
) -> jax.Array:
  """Causal self-attention inside segments.

  Position i attends to j <= i where `segment_ids[i] == segment_ids[j]`; scores are scaled by `head_dim ** -0.5`.

  Args:
    q_bshd, k_bshd, v_bshd: [batch, sequence, heads, head_dim], rotary position already applied to q and k.
    segment_ids_bs: int32 [batch, sequence]; see `bsm_jax.input.segments`.
    implementation: a key of `IMPLEMENTATIONS`, or "auto" for the best one of the platform.

  Returns:
    [batch, sequence, heads, head_dim], of q's dtype.

  Raises:
    ValueError: for an unknown implementation.
  """
  name = "reference" if implementation == "auto" else implementation
  if name not in IMPLEMENTATIONS:
    raise ValueError(f"unknown attention implementation {name!r}: use 'auto' or one of {sorted(IMPLEMENTATIONS)}")
  return IMPLEMENTATIONS[name](q_bshd, k_bshd, v_bshd, segment_ids_bs)
