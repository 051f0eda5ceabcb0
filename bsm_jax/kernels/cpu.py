"""Attention on CPUs: blocks of the causal triangle, a few heads at a time, in plain operations for XLA to compile.

XLA's CPU compiler writes whole arrays between matrix products, so what counts is that they are few and stay in a core's
cache. A loop goes over small groups of heads; within it, each block of queries meets only the keys up to its end, which
halves the products. The backward pass recomputes the weights from the log-sum-exp of each row, as FlashAttention-2 does
(arXiv 2307.08691): what is kept between the passes grows with the sequence, not with its square.

Scores lie [keys, queries]: then every product is one of plain rows times columns, which is the compiler's fastest kind,
and the softmax reduces along rows of vectors.

Shapes: b batch, s sequence, h heads, d head dimension; g heads of a group, q and k a block's queries and its keys.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from bsm_jax.kernels.reference import MASKED

# A group has as many heads as this many scores (1 MB: half of a server core's second cache) have room for.
_GROUP_SCORES = 1 << 18


def _block_size(length: int) -> int:
  return 128 if length <= 512 else 256


def _first_tokens(segment_ids_bs: jax.Array) -> jax.Array:
  """int32 [b, s]: index of the first token of each one's segment."""
  index_bs = lax.broadcasted_iota(jnp.int32, segment_ids_bs.shape, 1)
  begins_bs = jnp.diff(segment_ids_bs, axis=1, prepend=segment_ids_bs[:, :1] - 1) != 0
  return lax.cummax(jnp.where(begins_bs, index_bs, 0), axis=1)


def _dot(subscripts: str, a: jax.Array, b: jax.Array) -> jax.Array:
  return jnp.einsum(subscripts, a, b, preferred_element_type=jnp.float32)


def _features_first(x_gsd: jax.Array) -> jax.Array:
  return x_gsd.swapaxes(1, 2)


def _scores(k_gkd, q_gqd, first_s, start: int, scale: float) -> jax.Array:
  """Scaled scores [g, k, q] of the queries from `start` on and all keys up to their end; masked."""
  scores_gkq = _dot("gkd,gqd->gkq", k_gkd, q_gqd) * scale
  key, query = (lax.broadcasted_iota(jnp.int32, scores_gkq.shape, axis) for axis in (1, 2))
  first_q = first_s[start : start + q_gqd.shape[1]]
  seen = (key <= query + start) & (key >= lax.broadcast_in_dim(first_q, scores_gkq.shape, (2,)))
  return jnp.where(seen, scores_gkq, MASKED)


def _forward(q_gsd, k_gsd, v_gsd, first_s) -> tuple[jax.Array, jax.Array]:
  """Attention of a group of heads of one row: out [g, s, d], and the log-sum-exp of the scores [g, s]."""
  length, head_dim = q_gsd.shape[1:]
  v_gds = _features_first(v_gsd)
  outs, sums = [], []
  for start in range(0, length, _block_size(length)):
    end = min(start + _block_size(length), length)
    scores_gkq = _scores(k_gsd[:, :end], q_gsd[:, start:end], first_s, start, head_dim**-0.5)
    most_g1q = scores_gkq.max(1, keepdims=True)
    weights_gkq = jnp.exp(scores_gkq - most_g1q)
    sum_g1q = weights_gkq.sum(1, keepdims=True)
    outs.append(_dot("gdk,gkq->gdq", v_gds[..., :end], weights_gkq.astype(v_gsd.dtype)) / sum_g1q)
    sums.append(most_g1q + jnp.log(sum_g1q))
  return _features_first(jnp.concatenate(outs, 2)).astype(q_gsd.dtype), jnp.concatenate(sums, 2)[:, 0]


def _backward(q_gsd, k_gsd, v_gsd, out_gsd, d_out_gsd, lse_gs, first_s) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Gradients of q, k and v [g, s, d]."""
  length, head_dim = q_gsd.shape[1:]
  scale, dtype = head_dim**-0.5, q_gsd.dtype
  k_gds = _features_first(k_gsd)
  # The mean of the weights' gradients, in a form that needs no weights; from a rounded output it would be too coarse.
  mean_gs = jnp.sum(out_gsd * d_out_gsd, axis=2) if dtype == jnp.float32 else None
  dqs, dks, dvs = [], [], []
  blocks = [(start, min(start + _block_size(length), length)) for start in range(0, length, _block_size(length))]
  for start, end in blocks:
    scores_gkq = _scores(k_gsd[:, :end], q_gsd[:, start:end], first_s, start, scale)
    weights_gkq = jnp.exp(scores_gkq - lse_gs[:, None, start:end])
    d_weights_gkq = _dot("gkd,gqd->gkq", v_gsd[:, :end], d_out_gsd[:, start:end])
    if mean_gs is None:
      mean_g1q = (weights_gkq * d_weights_gkq).sum(1, keepdims=True)
    else:
      mean_g1q = mean_gs[:, None, start:end]
    d_scores_gkq = (weights_gkq * (d_weights_gkq - mean_g1q) * scale).astype(dtype)
    dqs.append(_dot("gdk,gkq->gdq", k_gds[..., :end], d_scores_gkq))
    dks.append(_dot("gkq,gqd->gkd", d_scores_gkq, q_gsd[:, start:end]))
    dvs.append(_dot("gkq,gqd->gkd", weights_gkq.astype(dtype), d_out_gsd[:, start:end]))
  # A block of keys has a part of its gradient from its own block of queries and from every later one.
  total = lambda parts: jnp.concatenate(
      [sum(part[:, start:end] for part in parts[n:]) for n, (start, end) in enumerate(blocks)], axis=1
  ).astype(dtype)
  return _features_first(jnp.concatenate(dqs, 2)).astype(dtype), total(dks), total(dvs)


def _by_heads(function: Callable, arrays, outs, first_bs: jax.Array) -> tuple[jax.Array, ...]:
  """Runs a function of groups of heads over all of them.

  Args:
    function: of what `arrays` hold of a group, [g, s, d] or [g, s], and the row's `first_s`.
    arrays: [b, s, h, d] or [b, h, s]; the first one of the former kind.
    outs: the results' shapes, of the same kinds, and dtypes.
    first_bs: see `_first_tokens`.
  """
  batch, length, heads, _ = arrays[0].shape
  at_most = _GROUP_SCORES // (length * min(length, _block_size(length)))
  group = max(n for n in range(1, heads + 1) if heads % n == 0 and n <= max(1, at_most))

  def start_of(x, row, head):
    return (row, 0, head, 0) if x.ndim == 4 else (row, head, 0)

  def take(x, row, head):
    size = (1, length, group, x.shape[3]) if x.ndim == 4 else (1, group, length)
    part = lax.dynamic_slice(x, start_of(x, row, head), size)[0]
    return part.swapaxes(0, 1) if x.ndim == 4 else part

  def put(x, part, row, head):
    part = part.swapaxes(0, 1) if x.ndim == 4 else part
    return lax.dynamic_update_slice(x, part[None], start_of(x, row, head))

  def body(number, filled):
    row, head = number // (heads // group), number % (heads // group) * group
    parts = function(*(take(x, row, head) for x in arrays), lax.dynamic_index_in_dim(first_bs, row, 0, False))
    return tuple(put(x, part, row, head) for x, part in zip(filled, parts))

  empty = tuple(jnp.zeros(out.shape, out.dtype) for out in outs)
  return lax.fori_loop(0, batch * (heads // group), body, empty)


@jax.custom_vjp
def _attention(q_bshd, k_bshd, v_bshd, first_bs):
  return _attention_fwd(q_bshd, k_bshd, v_bshd, first_bs)[0]


def _attention_fwd(q_bshd, k_bshd, v_bshd, first_bs):
  batch, length, heads, _ = q_bshd.shape
  outs = q_bshd, jax.ShapeDtypeStruct((batch, heads, length), jnp.float32)
  out_bshd, lse_bhs = _by_heads(_forward, (q_bshd, k_bshd, v_bshd), outs, first_bs)
  # Named, so that a rematerialisation policy can keep them: the forward then runs once a step.
  out_bshd, lse_bhs = checkpoint_name(out_bshd, "attention_out"), checkpoint_name(lse_bhs, "attention_lse")
  return out_bshd, (q_bshd, k_bshd, v_bshd, out_bshd, lse_bhs, first_bs)


def _attention_bwd(residuals, d_out_bshd):
  q_bshd, k_bshd, v_bshd, out_bshd, lse_bhs, first_bs = residuals
  arrays = q_bshd, k_bshd, v_bshd, out_bshd, d_out_bshd, lse_bhs
  return *_by_heads(_backward, arrays, (q_bshd, k_bshd, v_bshd), first_bs), None


_attention.defvjp(_attention_fwd, _attention_bwd)


def attention(q_bshd: jax.Array, k_bshd: jax.Array, v_bshd: jax.Array, segment_ids_bs: jax.Array) -> jax.Array:
  """Causal attention inside segments, differentiable with respect to q, k and v; see `bsm_jax.kernels.attention`.

  Args:
    q_bshd, k_bshd, v_bshd: [batch, sequence, heads, head_dim], of one floating-point dtype; any sizes.
    segment_ids_bs: int32 [batch, sequence]; equal ids must be contiguous.

  Returns:
    [batch, sequence, heads, head_dim] of q's dtype. Scores and softmax are fp32.
  """
  return _attention(q_bshd, k_bshd, v_bshd, _first_tokens(segment_ids_bs))
