"""Attention on GPUs: Pallas kernels for packed rows, lowered through Triton.

They follow FlashAttention-2 (arXiv 2307.08691): an online softmax forward that keeps only the log-sum-exp of each row,
and a backward that recomputes the weights. What is different is made for packed rows. A segment is a run of positions,
so a query attends to one interval of keys, from its segment's start to itself. Two small arrays of starts and ends
replace the segment ids: they say which blocks a program has to read at all, and mask the few that a boundary or the
diagonal crosses. Blocks wholly in other segments are never touched.

Shapes: b batch, s sequence, h heads, d head dimension. Tiles are [rows, lanes].
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from bsm_jax.kernels.documents import first_tokens, last_tokens
from bsm_jax.kernels.reference import MASKED

_LOG2_E = math.log2(math.e)

# What the backward needs besides q, k and v: for remat policies that keep it, so that the forward is not run again.
RESIDUAL_NAMES = ("attention_out", "attention_lse")


@dataclasses.dataclass(frozen=True)
class Tile:
  """How a kernel cuts up the sequence.

  Attributes:
    rows: queries (for dk and dv: keys) of a program.
    step: keys (for dk and dv: queries) that it takes at a time; divides rows.
    warps: of 32 threads, in a program.
    stages: steps whose loads are in flight at once.
  """

  rows: int
  step: int
  warps: int
  stages: int

  def __post_init__(self):
    if self.step < 16 or self.step & (self.step - 1) or self.rows & (self.rows - 1) or self.rows < self.step:
      raise ValueError(f"{self}: rows and step must be powers of two, 16 or more, and rows no less than step")


@dataclasses.dataclass(frozen=True)
class Blocks:
  """The tiles of the forward, of the gradient of q, and of those of k and v."""

  forward: Tile
  dq: Tile
  dkv: Tile


# By generation (9: Hopper and data-centre Blackwell; 8: Ampere, Ada and consumer Blackwell) and lanes of a tile.
# Not timed: no GPU was at hand. Compiled for sm_90a and sm_80 none of them spills a register, and Ampere's stay below
# the 99 KiB of shared memory of a consumer card. Small tiles skip more of other segments; 64 rows are the least that
# Hopper's matrix instruction takes.
BLOCKS = {
    (9, 64): Blocks(forward=Tile(128, 64, 8, 3), dq=Tile(64, 64, 4, 3), dkv=Tile(64, 64, 4, 3)),
    (9, 128): Blocks(forward=Tile(128, 64, 8, 3), dq=Tile(64, 32, 8, 2), dkv=Tile(64, 64, 8, 2)),
    (8, 64): Blocks(forward=Tile(64, 64, 4, 3), dq=Tile(64, 32, 4, 2), dkv=Tile(64, 32, 4, 2)),
    (8, 128): Blocks(forward=Tile(64, 64, 4, 2), dq=Tile(64, 64, 8, 2), dkv=Tile(64, 64, 8, 2)),
}
# Tensor cores would round fp32 to tf32: the products run on the ordinary units, where small tiles do not spill.
FLOAT32_BLOCKS = Blocks(forward=Tile(32, 16, 8, 1), dq=Tile(16, 16, 8, 1), dkv=Tile(32, 16, 8, 1))


def default_blocks(head_dim: int, dtype: jax.typing.DTypeLike) -> Blocks:
  """The tiles for this machine's GPU; without one the code is compiled for another machine: then Hopper's."""
  if dtype == jnp.float32:
    return FLOAT32_BLOCKS
  device = jax.devices()[0]
  major = int(device.compute_capability.split(".")[0]) if device.platform == "gpu" else 9
  return BLOCKS[9 if major in (9, 10) else 8, max(64, _width(head_dim))]


def _width(head_dim: int) -> int:
  """Lanes of a tile: Triton's tiles are powers of two, and its products sum over 16 lanes or more."""
  return max(16, pl.next_power_of_2(head_dim))


def _lane_mask(ref, head_dim: int) -> jax.Array | None:
  """True in the lanes of the head; those beyond belong to the next head in memory."""
  width = ref.shape[-1]
  return None if width == head_dim else (jnp.arange(width) < head_dim)[None, :]


def _load(ref, block, rows: int, head_dim: int) -> jax.Array:
  """A block of rows, [rows, width], zero beyond the head dimension."""
  mask = _lane_mask(ref, head_dim)
  return plgpu.load(ref.at[pl.ds(block * rows, rows)], mask=mask, other=None if mask is None else 0.0)


def _store(ref, block, rows: int, value: jax.Array, head_dim: int) -> None:
  plgpu.store(ref.at[pl.ds(block * rows, rows)], value.astype(ref.dtype), mask=_lane_mask(ref, head_dim))


def _dot(a, b, contract: tuple[int, int]) -> jax.Array:
  """A product summed in fp32; fp32 operands are not rounded to tf32."""
  dimensions = (((contract[0],), (contract[1],)), ((), ()))
  return lax.dot_general(a, b, dimensions, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32)


def _fold(begin, clear_begin, clear_end, end, step, carry):
  """Folds `step(block, carry, masked)` over begin..end, without masks in clear_begin..clear_end.

  The masked blocks on both sides share one loop: each loop costs a start-up of its pipeline of loads.
  """
  left = clear_begin - begin
  carry = lax.fori_loop(clear_begin, clear_end, functools.partial(step, masked=False), carry)
  edge = lambda i, carry: step(i + jnp.where(i < left, begin, clear_end - left), carry, masked=True)
  return lax.fori_loop(0, left + end - clear_end, edge, carry)


def _fold_keys(starts_ref, q_block, tile: Tile, step, carry):
  """Folds over the blocks of keys that a block of queries attends to."""
  first, count = q_block * tile.rows, tile.rows // tile.step
  begin, diagonal = starts_ref[first] // tile.step, q_block * count
  clear = jnp.minimum(pl.cdiv(starts_ref[first + tile.rows - 1], tile.step), diagonal)
  return _fold(begin, clear, diagonal, diagonal + count, step, carry)


def _fold_queries(ends_ref, k_block, tile: Tile, step, carry):
  """Folds over the blocks of queries that attend to a block of keys."""
  first, count = k_block * tile.rows, tile.rows // tile.step
  begin, below = k_block * count, (k_block + 1) * count
  clear = jnp.maximum((ends_ref[first] + 1) // tile.step, below)
  return _fold(begin, below, clear, ends_ref[first + tile.rows - 1] // tile.step + 1, step, carry)


def _positions(block, rows: int) -> jax.Array:
  return block * rows + jnp.arange(rows)


def _forward_kernel(q_ref, k_ref, v_ref, starts_ref, out_ref, lse_ref, *, head_dim: int, tile: Tile):
  # Late blocks have the most keys: they start first, so that no long one is left for the end.
  q_block = pl.num_programs(0) - 1 - pl.program_id(0)
  own = pl.ds(q_block * tile.rows, tile.rows)
  q, starts, q_pos = _load(q_ref, q_block, tile.rows, head_dim), starts_ref[own], _positions(q_block, tile.rows)
  scale = head_dim**-0.5 * _LOG2_E

  def step(k_block, carry, masked):
    out, row_max, row_sum = carry
    k, v = (_load(ref, k_block, tile.step, head_dim) for ref in (k_ref, v_ref))
    scores = _dot(q, k, (1, 1))
    if masked:
      k_pos = _positions(k_block, tile.step)[None, :]
      scores = jnp.where((k_pos >= starts[:, None]) & (k_pos <= q_pos[:, None]), scores, MASKED)
    new_max = jnp.maximum(row_max, jnp.max(scores, axis=1) * scale)
    weights = jnp.exp2(scores * scale - new_max[:, None])
    shrink = jnp.exp2(row_max - new_max)
    out = out * shrink[:, None] + _dot(weights.astype(v.dtype), v, (1, 0))
    return out, new_max, row_sum * shrink + jnp.sum(weights, axis=1)

  zero = jnp.zeros((tile.rows,), jnp.float32)
  # The maximum starts above any masked score, so that a row that sees nothing of a block sums up zeros there.
  carry = (jnp.zeros(q.shape, jnp.float32), zero + MASKED / 1000, zero)
  out, row_max, row_sum = _fold_keys(starts_ref, q_block, tile, step, carry)
  _store(out_ref, q_block, tile.rows, out / row_sum[:, None], head_dim)
  lse_ref[own] = row_max + jnp.log2(row_sum)


def _dq_kernel(
    q_ref, k_ref, v_ref, starts_ref, out_ref, lse_ref, dout_ref, dq_ref, delta_ref, *, head_dim: int, tile: Tile
):
  """Gradient of a block of queries, and delta: each row's mean of its weights' gradients under the weights.

  The softmax's gradient is weights * (their gradients - delta), which nearly cancels where one weight is near 1. The
  usual delta, out * dout summed, carries the rounding of the output and of its weights, and would then be most of the
  result. Here it is a first guess: what the gradient of a row's scores sums up to, which must be zero, is its error.
  To take that error out of dq costs one product more, weights with keys.
  """
  q_block = pl.num_programs(0) - 1 - pl.program_id(0)
  own = pl.ds(q_block * tile.rows, tile.rows)
  q, out, dout = (_load(ref, q_block, tile.rows, head_dim) for ref in (q_ref, out_ref, dout_ref))
  starts, lse, q_pos = starts_ref[own], lse_ref[own], _positions(q_block, tile.rows)
  guess = jnp.sum(out.astype(jnp.float32) * dout.astype(jnp.float32), axis=1)
  scale = head_dim**-0.5

  def step(k_block, carry, masked):
    dq, mean_k, error = carry
    k, v = (_load(ref, k_block, tile.step, head_dim) for ref in (k_ref, v_ref))
    weights = jnp.exp2(_dot(q, k, (1, 1)) * (scale * _LOG2_E) - lse[:, None])
    if masked:
      k_pos = _positions(k_block, tile.step)[None, :]
      weights = jnp.where((k_pos >= starts[:, None]) & (k_pos <= q_pos[:, None]), weights, 0.0)
    dscores = weights * (_dot(dout, v, (1, 1)) - guess[:, None])
    dq += _dot(dscores.astype(k.dtype), k, (1, 0))
    mean_k += _dot(weights.astype(k.dtype), k, (1, 0))
    return dq, mean_k, error + jnp.sum(dscores, axis=1)

  zero = jnp.zeros(q.shape, jnp.float32)
  dq, mean_k, error = _fold_keys(starts_ref, q_block, tile, step, (zero, zero, jnp.zeros_like(guess)))
  _store(dq_ref, q_block, tile.rows, (dq - error[:, None] * mean_k) * scale, head_dim)
  delta_ref[own] = guess + error


def _dkv_kernel(
    q_ref, k_ref, v_ref, ends_ref, lse_ref, delta_ref, dout_ref, dk_ref, dv_ref, *, head_dim: int, tile: Tile
):
  """Gradients of a block of keys and values. One program sums each, in a fixed order: results are reproducible."""
  k_block = pl.program_id(0)
  k, v = (_load(ref, k_block, tile.rows, head_dim) for ref in (k_ref, v_ref))
  ends, k_pos = ends_ref[pl.ds(k_block * tile.rows, tile.rows)], _positions(k_block, tile.rows)
  scale = head_dim**-0.5

  def step(q_block, carry, masked):
    dk, dv = carry
    q, dout = (_load(ref, q_block, tile.step, head_dim) for ref in (q_ref, dout_ref))
    queries = pl.ds(q_block * tile.step, tile.step)
    # Keys run along the rows: neither the weights nor their gradient need a transpose to be summed over queries.
    weights = jnp.exp2(_dot(k, q, (1, 1)) * (scale * _LOG2_E) - lse_ref[queries][None, :])
    if masked:
      q_pos = _positions(q_block, tile.step)[None, :]
      weights = jnp.where((q_pos >= k_pos[:, None]) & (q_pos <= ends[:, None]), weights, 0.0)
    dv += _dot(weights.astype(dout.dtype), dout, (1, 0))
    dscores = weights * (_dot(v, dout, (1, 1)) - delta_ref[queries][None, :])
    return dk + _dot(dscores.astype(q.dtype), q, (1, 0)), dv

  zero = jnp.zeros(k.shape, jnp.float32)
  dk, dv = _fold_queries(ends_ref, k_block, tile, step, (zero, zero))
  _store(dk_ref, k_block, tile.rows, dk * scale, head_dim)
  _store(dv_ref, k_block, tile.rows, dv, head_dim)


def _call(kernel, name: str, shape_bshd, tile: Tile, inputs, outputs, interpret: bool):
  """Runs a kernel with one program for each block of rows, head and row of the batch.

  A program is given all positions of its head; it loads what it needs. Arrays are [b, s, h, d], [b, h, s] or [b, s].
  """
  batch, length, heads, head_dim = shape_bshd
  specs = {
      4: pl.BlockSpec((None, length, None, _width(head_dim)), lambda i, h, b: (b, 0, h, 0)),
      3: pl.BlockSpec((None, None, length), lambda i, h, b: (b, h, 0)),
      2: pl.BlockSpec((None, length), lambda i, h, b: (b, 0)),
  }
  return pl.pallas_call(
      functools.partial(kernel, head_dim=head_dim, tile=tile),
      grid=(length // tile.rows, heads, batch),
      in_specs=[specs[x.ndim] for x in inputs],
      out_specs=[specs[x.ndim] for x in outputs],
      out_shape=outputs,
      compiler_params=plgpu.CompilerParams(num_warps=tile.warps, num_stages=tile.stages),
      interpret=interpret,
      name=name,
  )(*inputs)


def _like(x: jax.Array) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _forward(q_bshd, k_bshd, v_bshd, starts_bs, blocks: Blocks, interpret: bool):
  """Output [b, s, h, d], and log2 of each row's sum of exp(scores), fp32 [b, h, s]."""
  batch, length, heads, _ = q_bshd.shape
  outputs = [_like(q_bshd), jax.ShapeDtypeStruct((batch, heads, length), jnp.float32)]
  inputs = [q_bshd, k_bshd, v_bshd, starts_bs]
  return _call(_forward_kernel, "attention_forward", q_bshd.shape, blocks.forward, inputs, outputs, interpret)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _attention(q_bshd, k_bshd, v_bshd, starts_bs, ends_bs, blocks: Blocks, interpret: bool):
  return _forward(q_bshd, k_bshd, v_bshd, starts_bs, blocks, interpret)[0]


def _attention_fwd(q_bshd, k_bshd, v_bshd, starts_bs, ends_bs, blocks, interpret):
  forward = _forward(q_bshd, k_bshd, v_bshd, starts_bs, blocks, interpret)
  out_bshd, lse_bhs = map(checkpoint_name, forward, RESIDUAL_NAMES)
  return out_bshd, (q_bshd, k_bshd, v_bshd, starts_bs, ends_bs, out_bshd, lse_bhs)


def _attention_bwd(blocks, interpret, residuals, dout_bshd):
  q, k, v, starts_bs, ends_bs, out, lse = residuals
  inputs = [q, k, v, starts_bs, out, lse, dout_bshd]
  dq, delta = _call(_dq_kernel, "attention_dq", q.shape, blocks.dq, inputs, [_like(q), _like(lse)], interpret)
  inputs = [q, k, v, ends_bs, lse, delta, dout_bshd]
  dk, dv = _call(_dkv_kernel, "attention_dkv", q.shape, blocks.dkv, inputs, [_like(k), _like(v)], interpret)
  return dq, dk, dv, None, None


_attention.defvjp(_attention_fwd, _attention_bwd)


def attention(
    q_bshd: jax.Array,
    k_bshd: jax.Array,
    v_bshd: jax.Array,
    segment_ids_bs: jax.Array,
    *,
    blocks: Blocks | None = None,
    interpret: bool = False,
) -> jax.Array:
  """Causal self-attention inside segments by the Pallas kernels; scores are scaled by `head_dim ** -0.5`.

  Differentiable in q, k and v. Sums and softmax are fp32; weights are rounded to v's dtype before they meet v.

  Args:
    q_bshd, k_bshd, v_bshd: [batch, sequence, heads, head_dim], bf16, fp16 or fp32, rotary already applied to q and k.
    segment_ids_bs: int [batch, sequence]. Each id fills one run of positions of its row (padding, too).
    blocks: sizes of tiles; `default_blocks` if None.
    interpret: run the kernels as plain JAX operations, on any platform: for tests.

  Returns:
    [batch, sequence, heads, head_dim] of q's dtype.

  Raises:
    ValueError: shapes or dtypes differ, or a size that the kernels do not take.
  """
  batch, length, _, head_dim = q_bshd.shape
  if not (q_bshd.shape == k_bshd.shape == v_bshd.shape and q_bshd.dtype == k_bshd.dtype == v_bshd.dtype):
    got = ", ".join(f"{x.dtype}{list(x.shape)}" for x in (q_bshd, k_bshd, v_bshd))
    raise ValueError(f"q, k and v must have one shape and dtype, not {got}")
  if segment_ids_bs.shape != (batch, length):
    raise ValueError(f"segment ids must be {(batch, length)} for q of {q_bshd.shape}, not {segment_ids_bs.shape}")
  if q_bshd.dtype not in (jnp.bfloat16, jnp.float16, jnp.float32):
    raise ValueError(f"attention takes bfloat16, float16 or float32, not {q_bshd.dtype}: cast q, k and v")
  if head_dim > 128:
    raise ValueError(f"the GPU kernels take a head_dim of at most 128, not {head_dim}: use the reference")
  blocks = default_blocks(head_dim, q_bshd.dtype) if blocks is None else blocks
  tail = -length % max(tile.rows for tile in (blocks.forward, blocks.dq, blocks.dkv))
  pad = lambda x_bshd: jnp.pad(x_bshd, ((0, 0), (0, tail), (0, 0), (0, 0)))
  # No position sees the rows added after it, and none of their gradients is asked for.
  ids_bs = jnp.pad(segment_ids_bs, ((0, 0), (0, tail)))
  starts_bs, ends_bs = first_tokens(ids_bs), last_tokens(ids_bs)
  out_bshd = _attention(pad(q_bshd), pad(k_bshd), pad(v_bshd), starts_bs, ends_bs, blocks, interpret)
  return out_bshd[:, :length]
