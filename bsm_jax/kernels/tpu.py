"""Causal attention inside documents for TPUs: Pallas kernels on feature-major arrays, rotary positions inside.

Arrays are feature-major: a feature is a row, the tokens of all sequences lie along the lanes. That is what a matrix
product with the weight on the left gives, at the same speed, and it pays four times:

- a head is a slice of rows, so any head_dim (56, 64, 128) is dense in memory and needs no padding, split or transpose;
- rotating the halves of a head moves whole rows;
- softmax runs down the rows: its maxima and sums are plain vector adds, no reductions across lanes;
- products that end in head_dim features (P V and three of the backward's five) stream only head_dim rows against
  stationary 128 x 128 tiles of P or dS, and so cost head_dim / 128 of what the token-major form costs.

One grid step holds all tokens of a sequence for a few heads in VMEM. Sequences of up to 1024 tokens are one unrolled
block without online softmax; longer ones are cut into chunks, a loop over those that share a document with the
queries, merged by online softmax (arXiv 2205.14135; the fused backward as in arXiv 2307.08691).

Documents are contiguous, so what a query may see is an interval: from the first token of its document to itself. One
comparison of an iota with a row of first tokens is the whole mask, and the number of key tiles back to the first token
says which tiles lie wholly in other documents.

Suffixes of names: w heads * head_dim features, n tokens of all sequences, b sequences, s tokens of one, k head_dim.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from bsm_jax.kernels.documents import first_tokens
from bsm_jax.kernels.tpu_attention import CHUNK, LANES, UNROLLED, Blocks, Plan, backward_kernel, forward_kernel

# Best static estimates at 16 x 1024 tokens and 12 heads of 64, by `device_kind` (tests/benchmarks/attention.py).
BLOCKS = {
    "TPU v5 lite": Blocks(tile=128, heads=2, ahead_forward=8, ahead_backward=6),
    "TPU v5": Blocks(tile=128, heads=2, ahead_forward=6, ahead_backward=4),
    "TPU v6 lite": Blocks(tile=256, heads=4, ahead_forward=4, ahead_backward=2),
    "TPU7x": Blocks(tile=256, heads=4, ahead_forward=4, ahead_backward=2),
}
DEFAULT_BLOCKS = BLOCKS["TPU v5 lite"]


# What a block of an operand holds for one grid step.
_SCALARS, _FEATURES, _HEADS, _FIRST, _ROTARY = range(5)


def _call(plan: Plan, kernel, name: str, *, products: int, operands, results, scratch):
  """One Pallas call over (sequences, groups of heads).

  Args:
    plan: static shapes.
    kernel, name: the kernel, and what profiles call it.
    products: matrix products of scores' size, for XLA's scheduler.
    operands: `(kind, array)` in the kernel's order, the scalars first.
    results: `(kind, shape, dtype)`, likewise.
    scratch: shapes and dtypes in VMEM.
  """
  d, hp, length, groups = plan.head_dim, plan.step_heads, plan.length, plan.grid[1]

  def spec(kind: int, shape: tuple[int, ...]) -> pl.BlockSpec:
    if kind == _FEATURES:
      return pl.BlockSpec((shape[0] // groups, length), lambda b, g, *_: (g, b))
    if kind == _HEADS:
      return pl.BlockSpec((1, hp, length), lambda b, g, *_: (b * groups + g, 0, 0))
    # The same for all heads of a sequence: of a long one a single copy fits beside the rest.
    buffers = {} if plan.whole else {"pipeline_mode": pl.Buffered(1)}
    return pl.BlockSpec((1, *shape[1:]), lambda b, g, *_: (b, 0, 0), **buffers)

  specs = [spec(kind, array.shape) for kind, array in operands[1:]]
  out_specs = [spec(kind, shape) for kind, shape, _ in results]
  out_shape = [jax.ShapeDtypeStruct(shape, dtype) for _, shape, dtype in results]
  arrays = [array for _, array in operands]
  return pl.pallas_call(
      functools.partial(kernel, plan),
      grid_spec=pltpu.PrefetchScalarGridSpec(
          num_scalar_prefetch=1,
          grid=plan.grid,
          in_specs=specs,
          out_specs=out_specs,
          scratch_shapes=[pltpu.VMEM(shape, dtype) for shape, dtype in scratch],
      ),
      out_shape=out_shape,
      compiler_params=pltpu.CompilerParams(
          dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=plan.vmem_bytes(hp) + (24 << 20)
      ),
      cost_estimate=pl.CostEstimate(
          flops=products * plan.batch * plan.heads * length * length * d,
          transcendentals=plan.batch * plan.heads * length * length // 2,
          bytes_accessed=sum(x.size * x.dtype.itemsize for x in [*arrays, *out_shape]),
      ),
      interpret=plan.interpret,
      name=name,
  )(*arrays)


def _forward(plan: Plan, qkv_wn, first_bs, rotary_bks) -> tuple[jax.Array, jax.Array]:
  d, hp, length, dtype = plan.head_dim, plan.step_heads, plan.length, qkv_wn.dtype
  merged = [((hp, length), jnp.float32)] * 2 + [((hp * d, length), jnp.float32)]
  return _call(
      plan, forward_kernel, "attention_forward", products=2,
      operands=[(_SCALARS, _reach(plan, first_bs)), (_FEATURES, qkv_wn), (_FIRST, first_bs[:, None]),
                (_ROTARY, rotary_bks)],
      results=[(_FEATURES, (plan.heads * d, qkv_wn.shape[1]), dtype),
               (_HEADS, (plan.batch * plan.grid[1], hp, length), jnp.float32)],
      scratch=[((hp * d, length), dtype), ((hp, length, d), dtype), *([] if plan.whole else merged)],
  )  # fmt: skip


def _backward(plan: Plan, qkv_wn, out_wn, d_out_wn, lse, first_bs, rotary_bks) -> jax.Array:
  d, hp, length, dtype = plan.head_dim, plan.step_heads, plan.length, qkv_wn.dtype
  features, tokens = ((hp * d, length), dtype), ((hp, length, d), dtype)
  sums = ((hp * d, length), jnp.float32)
  (d_qkv_wn,) = _call(
      plan, backward_kernel, "attention_backward", products=5,
      operands=[(_SCALARS, _reach(plan, first_bs)), (_FEATURES, qkv_wn), (_FEATURES, d_out_wn), (_HEADS, lse),
                (_FIRST, first_bs[:, None]), (_ROTARY, rotary_bks), *([] if plan.whole else [(_FEATURES, out_wn)])],
      results=[(_FEATURES, qkv_wn.shape, dtype)],
      scratch=[features, features, tokens, tokens, sums, sums,
               *([] if plan.whole else [((hp, length), jnp.float32), sums])],
  )  # fmt: skip
  return d_qkv_wn


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(plan: Plan, qkv_wn, first_bs, rotary_bks):
  return _forward(plan, qkv_wn, first_bs, rotary_bks)[0]


def _attention_fwd(plan: Plan, qkv_wn, first_bs, rotary_bks):
  out_wn, lse = _forward(plan, qkv_wn, first_bs, rotary_bks)
  # Named, so that a rematerialisation policy can keep them: the forward kernel then runs once a step.
  out_wn, lse = checkpoint_name(out_wn, "attention_out"), checkpoint_name(lse, "attention_lse")
  return out_wn, (qkv_wn, out_wn, lse, first_bs, rotary_bks)


def _attention_bwd(plan: Plan, residuals, d_out_wn):
  qkv_wn, out_wn, lse, first_bs, rotary_bks = residuals
  return _backward(plan, qkv_wn, out_wn, d_out_wn, lse, first_bs, rotary_bks), None, None


_attention.defvjp(_attention_fwd, _attention_bwd)


def _reach(plan: Plan, first_bs: jax.Array) -> jax.Array:
  """What `_each_chunk` is told of each sequence."""
  if plan.chunks > 1:
    return first_bs[:, :: plan.chunk] // plan.chunk
  tile_bt = jax.lax.broadcasted_iota(jnp.int32, (plan.batch, plan.length // plan.tile), 1)
  return (tile_bt - first_bs[:, :: plan.tile] // plan.tile + 1).max(1, keepdims=True)


def _make_plan(batch: int, length: int, *, heads: int, head_dim: int, device_kind: str, interpret: bool) -> Plan:
  """The plan for sequences padded to whole tiles."""
  multiple = LANES if length <= UNROLLED else CHUNK
  return Plan(
      batch=batch,
      length=-(-length // multiple) * multiple,
      head_dim=head_dim,
      heads=heads,
      blocks=BLOCKS.get(device_kind, DEFAULT_BLOCKS),
      interpret=interpret,
  )


def scalars_of(segment_ids_bs: jax.Array, device_kind: str) -> dict[str, list[np.ndarray]]:
  """The scalars on which the kernels' branches depend, by kernel, for `bsm_jax.static_profile`.

  Args:
    segment_ids_bs: int32 [batch, sequence], of one device; one document a row is the most work there is.
    device_kind: of the chip.
  """
  plan = _make_plan(*segment_ids_bs.shape, heads=1, head_dim=LANES, device_kind=device_kind, interpret=False)
  padding = plan.length - segment_ids_bs.shape[1]
  padded_bs = jnp.pad(segment_ids_bs, ((0, 0), (0, padding)), mode="edge")
  reach = np.asarray(_reach(plan, first_tokens(padded_bs)))
  return {"attention_forward": [reach], "attention_backward": [reach]}


def attention(
    qkv_wn: jax.Array,
    segment_ids_bs: jax.Array,
    rotary_bks: jax.Array,
    *,
    head_dim: int,
    device_kind: str = "",
    interpret: bool = False,
) -> jax.Array:
  """Causal attention inside documents, differentiable with respect to `qkv_wn`; see `bsm_jax.kernels.attention`.

  Args:
    qkv_wn: [heads * 3 * head_dim, batch * sequence], bf16 or fp32; rows ordered [head][query, key, value][head_dim].
    segment_ids_bs: int32 [batch, sequence]; equal ids must be contiguous. Any length; multiples of 128 up to 1024, and
      of 512 above, need no copy.
    rotary_bks: fp32 [batch, 2 * head_dim, sequence], see `bsm_jax.kernels.rotary.rotary_table`; no gradient.
    head_dim: even.
    device_kind: of the chip that will run it; chooses from `BLOCKS`.
    interpret: run in Pallas' interpreter, on any platform.

  Returns:
    [heads * head_dim, batch * sequence], of qkv's dtype.
  """
  batch, length = segment_ids_bs.shape
  features = qkv_wn.shape[0]
  plan = _make_plan(
      batch, length, heads=features // (3 * head_dim), head_dim=head_dim, device_kind=device_kind, interpret=interpret
  )
  padding = plan.length - length
  if padding:
    # No earlier token sees the padding: it comes last.
    qkv_wn = jnp.pad(qkv_wn.reshape(features, batch, length), ((0, 0), (0, 0), (0, padding))).reshape(features, -1)
    segment_ids_bs = jnp.pad(segment_ids_bs, ((0, 0), (0, padding)), mode="edge")
    rotary_bks = jnp.pad(rotary_bks, ((0, 0), (0, 0), (0, padding)))
  out_wn = _attention(plan, qkv_wn, first_tokens(segment_ids_bs), rotary_bks)
  if padding:
    out_wn = out_wn.reshape(-1, batch, plan.length)[:, :, :length].reshape(-1, batch * length)
  return out_wn
