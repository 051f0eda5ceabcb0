"""Rotary positions (arXiv 2104.09864) in Llama's half-split layout: the halves of a head turn against each other."""

import jax
import jax.numpy as jnp


def rotary_table(positions_bs: jax.Array, head_dim: int, theta: float) -> jax.Array:
  """Cosines and signed sines for every feature of a head.

  Args:
    positions_bs: int32 [batch, sequence], from the start of each document.
    head_dim: even.
    theta: base of the frequencies.

  Returns:
    fp32 [batch, 2 * head_dim, sequence]: cosines, then sines, negative in the first half of the head. With them,
    rotation is `x * cosines + exchange_halves(x) * sines`.
  """
  frequencies_k = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
  angles_bks = positions_bs.astype(jnp.float32)[:, None, :] * frequencies_k[None, :, None]
  cos_bks, sin_bks = jnp.cos(angles_bks), jnp.sin(angles_bks)
  return jnp.concatenate([cos_bks, cos_bks, -sin_bks, sin_bks], axis=1)


def rotate(x_bshk: jax.Array, rotary_bks: jax.Array) -> jax.Array:
  """Rotates the heads of [batch, sequence, heads, head_dim], computed in fp32, returned in x's dtype."""
  table_bs1k = rotary_bks.swapaxes(1, 2)[:, :, None, :]
  cos_bs1k, sin_bs1k = jnp.split(table_bs1k, 2, axis=-1)
  x32_bshk = x_bshk.astype(jnp.float32)
  exchanged_bshk = jnp.roll(x32_bshk, x_bshk.shape[-1] // 2, axis=-1)
  return (x32_bshk * cos_bs1k + exchanged_bshk * sin_bs1k).astype(x_bshk.dtype)
