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

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from bsm_jax.kernels.reference import MASKED

_LOG2_E = math.log2(math.e)
_LANES = 128
# The longest sequence that is one unrolled block, and the chunk of longer ones.
_UNROLLED = 1024
_CHUNK = 512
# An unrolled block has two forms: all keys up to the query, and, for short documents, the last so many tokens' keys.
_NEAR = 384
# Of the 64 MiB (v5p, 7x) or 128 MiB (v5e, v6e) of a core: what blocks and scratch may take beside the values in flight.
_VMEM_BUDGET = 38 << 20


@dataclasses.dataclass(frozen=True)
class Blocks:
  """How a kernel is laid out on a chip.

  Attributes:
    tile: queries, and keys, of a softmax tile: the width of the matrix unit.
    heads: heads of a grid step, at the most.
    ahead_forward, ahead_backward: how many products of scores are begun before the softmax of the first: the compiler
      overlaps work of the matrix unit and of the vector unit only as far as they are near each other in the program.
  """

  tile: int
  heads: int
  ahead_forward: int
  ahead_backward: int


# Best static estimates at 16 x 1024 tokens and 12 heads of 64, by `device_kind` (tests/benchmarks/attention.py).
BLOCKS = {
    "TPU v5 lite": Blocks(tile=128, heads=2, ahead_forward=8, ahead_backward=6),
    "TPU v5": Blocks(tile=128, heads=2, ahead_forward=6, ahead_backward=4),
    "TPU v6 lite": Blocks(tile=256, heads=4, ahead_forward=4, ahead_backward=2),
    "TPU7x": Blocks(tile=256, heads=4, ahead_forward=4, ahead_backward=2),
}
DEFAULT_BLOCKS = BLOCKS["TPU v5 lite"]


@dataclasses.dataclass(frozen=True)
class _Plan:
  """Everything static about a call: shapes, blocks, and whether it is interpreted."""

  batch: int
  length: int
  head_dim: int
  heads: int  # In all.
  blocks: Blocks
  interpret: bool

  def vmem_bytes(self, step_heads: int) -> int:
    """Of the backward kernel's blocks, twice for the pipeline, and of its scratch; the forward needs less."""
    padded = -(-self.head_dim // _LANES) * _LANES
    of_head = 2 * (3 + 1 + 1 + 3) * self.head_dim * 2 + 2 * self.head_dim * 2 + 2 * padded * 2 + 3 * self.head_dim * 4
    return self.length * (step_heads * of_head + 2 * 2 * self.head_dim * 4)

  @property
  def step_heads(self) -> int:
    fits = lambda n: self.heads % n == 0 and self.vmem_bytes(n) <= _VMEM_BUDGET
    return next((n for n in range(min(self.blocks.heads, self.heads), 0, -1) if fits(n)), 1)

  @property
  def tile(self) -> int:
    return self.blocks.tile if self.length % self.blocks.tile == 0 else _LANES

  @property
  def chunk(self) -> int:
    return self.length if self.length <= _UNROLLED else _CHUNK

  @property
  def chunks(self) -> int:
    return self.length // self.chunk

  @property
  def grid(self) -> tuple[int, int]:
    return self.batch, self.heads // self.step_heads

  @property
  def whole(self) -> bool:
    """A sequence is one chunk, so that all scores of a query are at hand at once."""
    return self.chunks == 1


def _dot(a: jax.Array, b: jax.Array, contract_a: int, contract_b: int) -> jax.Array:
  precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
  return jax.lax.dot_general(
      a, b, (((contract_a,), (contract_b,)), ((), ())), precision=precision, preferred_element_type=jnp.float32
  )


def _rotate(x_ks: jax.Array, cos_ks: jax.Array, sin_ks: jax.Array) -> jax.Array:
  """Rotary positions; the halves' exchange is a roll by half the rows, whose signs are in the sines."""
  return x_ks * cos_ks + pltpu.roll(x_ks, x_ks.shape[0] // 2, 0) * sin_ks


def _rotate_back(x_ks: jax.Array, cos_ks: jax.Array, sin_ks: jax.Array) -> jax.Array:
  """The transpose of `_rotate`."""
  return x_ks * cos_ks + pltpu.roll(x_ks * sin_ks, x_ks.shape[0] // 2, 0)


def _staggered(items, begin, finish, ahead: int) -> None:
  """`finish(item, begin(item))` for every item in order, each begun `ahead` items before it is finished."""
  begun = [begin(item) for item in items[:ahead]]
  for number, item in enumerate(items):
    if number + ahead < len(items):
      begun.append(begin(items[number + ahead]))
    finish(item, begun[number])
    begun[number] = None


class _Tiles:
  """The score tiles [keys, queries] of one query tile against `count` key tiles, the last one its own if `diagonal`."""

  def __init__(self, plan: _Plan, first_key, first_1s: jax.Array, count: int, *, diagonal: bool):
    """Args: index of the first key; first token of each query's document; number of tiles; is the last one causal."""
    self._tile, self._count, self._diagonal = plan.tile, count, diagonal
    self._visible_from_1s = first_1s - first_key

  def split(self, scores: jax.Array) -> list[jax.Array]:
    return [scores[t * self._tile : (t + 1) * self._tile] for t in range(self._count)]

  def where_visible(self, tiles: list[jax.Array], otherwise: float) -> list[jax.Array]:
    """Replaces what a query may not see."""
    key_ss = jax.lax.broadcasted_iota(jnp.int32, (self._tile, self._tile), 0)
    found = []
    for number, tile in enumerate(tiles):
      visible = key_ss >= jnp.broadcast_to(self._visible_from_1s - number * self._tile, key_ss.shape)
      if self._diagonal and number == self._count - 1:
        visible &= key_ss <= jax.lax.broadcasted_iota(jnp.int32, key_ss.shape, 1)
      found.append(jnp.where(visible, tile, otherwise))
    return found


def _sum(values: list[jax.Array]) -> jax.Array:
  return functools.reduce(jnp.add, values)


def _each_part(plan: _Plan, reach_ref, attend) -> None:
  """Runs those parts of a sequence's scores that any of its queries needs.

  Args:
    plan: static shapes.
    reach_ref: int32 SMEM. Of a sequence in one chunk [b, 1]: how many key tiles back, its own included, a query tile
      sees at the most. Of a longer one [b, chunks]: the first key chunk that each query chunk sees.
    attend: `attend(query_start, key_start, spans, diagonal=)` with spans `(query tile, key tile, number of key tiles)`
      relative to the starts. A sequence in one chunk has one span for each query tile. Of longer ones, and for the
      gradients of every key tile, the diagonal part comes first: sums begin with it, and the others add to them.
  """
  b = pl.program_id(0)
  tiles = plan.chunk // plan.tile
  near = min(_NEAR // plan.tile, tiles)

  def diagonal(start, reach: int, queries: range) -> None:
    spans = [(query, max(0, query - reach + 1), min(reach, query + 1)) for query in queries]
    attend(start, start, spans, diagonal=True)

  if plan.whole:
    diagonal(0, near, range(near))
    if near < tiles:
      late = functools.partial(diagonal, 0, queries=range(near, tiles))
      jax.lax.cond(reach_ref[b, 0] > near, lambda: late(reach=tiles), lambda: late(reach=near))
    return

  @pl.loop(0, plan.chunks)
  def _(query_chunk):
    diagonal(query_chunk * plan.chunk, tiles, range(tiles))

    @pl.loop(reach_ref[b, query_chunk], query_chunk)
    def _(key_chunk):
      spans = [(query, 0, tiles) for query in range(tiles)]
      attend(query_chunk * plan.chunk, key_chunk * plan.chunk, spans, diagonal=False)


def _lanes(start, size: int):
  return pl.ds(start if isinstance(start, int) else pl.multiple_of(start, _LANES), size)


def _forward_kernel(plan: _Plan, reach_ref, qkv_ref, first_ref, rotary_ref, out_ref, lse_ref, *scratch):
  d, tile, chunk = plan.head_dim, plan.tile, plan.chunk
  scale = d**-0.5 * _LOG2_E  # Softmax in base 2.
  heads = range(plan.step_heads)
  dtype = qkv_ref.dtype
  q_ref, k_ref, *merged = scratch
  rows = lambda head, part: pl.ds((3 * head + part) * d, d)

  @pl.loop(0, plan.chunks)
  def _(c):
    lanes = _lanes(c * chunk, chunk)
    cos_ks, sin_ks = rotary_ref[0, :d, lanes], rotary_ref[0, d:, lanes]
    for h in heads:
      q_ks = _rotate(qkv_ref[rows(h, 0), lanes].astype(jnp.float32), cos_ks, sin_ks)
      q_ref[pl.ds(h * d, d), lanes] = q_ks.astype(dtype)
      k_ks = _rotate(qkv_ref[rows(h, 1), lanes].astype(jnp.float32), cos_ks, sin_ks)
      k_ref[h, lanes] = k_ks.astype(dtype).T

  def attend(query_start, key_start, spans, *, diagonal):

    def begin(item):
      h, (query, key, count) = item
      k_sk = k_ref[h, _lanes(key_start + key * tile, count * tile)]
      return _dot(k_sk, q_ref[pl.ds(h * d, d), _lanes(query_start + query * tile, tile)], 1, 0)

    def finish(item, scores):
      h, (query, key, count) = item
      queries, keys = _lanes(query_start + query * tile, tile), key_start + key * tile
      grid = _Tiles(plan, keys, first_ref[0, :, queries], count, diagonal=diagonal)
      # Scaled here and not in the queries, whose rounding to bf16 would then err by more where scores are large.
      tiles = grid.where_visible(grid.split(scores * scale), MASKED)
      top_1s = functools.reduce(jnp.maximum, [t.max(0, keepdims=True) for t in tiles])
      if not diagonal:
        before_1s = merged[0][pl.ds(h, 1), queries]
        top_1s = jnp.maximum(top_1s, before_1s)
        shrink_1s = jnp.exp2(before_1s - top_1s)
      tiles = [jnp.exp2(t - top_1s) for t in tiles]
      total_1s = _sum([t.sum(0, keepdims=True) for t in tiles])
      v_ks = qkv_ref[rows(h, 2), _lanes(keys, count * tile)]
      sum_ks = _dot(v_ks, jnp.concatenate([t.astype(dtype) for t in tiles], 0), 1, 0)
      if plan.whole:
        write(h, queries, top_1s, total_1s, sum_ks)
        return
      top_ref, total_ref, sum_ref = merged
      if not diagonal:
        total_1s += total_ref[pl.ds(h, 1), queries] * shrink_1s
        sum_ks += sum_ref[pl.ds(h * d, d), queries] * shrink_1s
      top_ref[pl.ds(h, 1), queries], total_ref[pl.ds(h, 1), queries] = top_1s, total_1s
      sum_ref[pl.ds(h * d, d), queries] = sum_ks

    _staggered([(h, span) for span in spans for h in heads], begin, finish, plan.blocks.ahead_forward)

  def write(h, lanes, top_1s, total_1s, sum_ks):
    out_ref[pl.ds(h * d, d), lanes] = (sum_ks * (1.0 / total_1s)).astype(dtype)
    lse_ref[0, pl.ds(h, 1), lanes] = top_1s + jnp.log2(total_1s)

  _each_part(plan, reach_ref, attend)
  if not plan.whole:

    @pl.loop(0, plan.chunks)
    def _(c):
      lanes = _lanes(c * chunk, chunk)
      top_ref, total_ref, sum_ref = merged
      for h in heads:
        head = pl.ds(h, 1)
        write(h, lanes, top_ref[head, lanes], total_ref[head, lanes], sum_ref[pl.ds(h * d, d), lanes])


def _backward_kernel(
    plan: _Plan, reach_ref, qkv_ref, d_out_ref, lse_ref, first_ref, rotary_ref, *refs
):
  """All five products in one pass; gradients of keys and values are summed in fp32 scratch over the query tiles.

  The gradient of a score is p (dp - delta), where delta, the sum of p dp over the keys, is also the product of the
  output and its gradient. The sum is more accurate, but needs all scores of a query at once.
  """
  out_ref, refs = (None, refs) if plan.whole else (refs[0], refs[1:])
  d_qkv_ref, q_ref, kt_ref, k_ref, v_ref, dk_ref, dv_ref, *merged = refs
  d, tile, chunk = plan.head_dim, plan.tile, plan.chunk
  scale = d**-0.5 * _LOG2_E  # Softmax in base 2.
  heads = range(plan.step_heads)
  dtype = qkv_ref.dtype
  rows = lambda head, part: pl.ds((3 * head + part) * d, d)
  of_head = lambda head: pl.ds(head * d, d)
  angles = lambda lanes: (rotary_ref[0, :d, lanes], rotary_ref[0, d:, lanes])

  @pl.loop(0, plan.chunks)
  def _(c):
    lanes = _lanes(c * chunk, chunk)
    for h in heads:
      q_ks = _rotate(qkv_ref[rows(h, 0), lanes].astype(jnp.float32), *angles(lanes))
      k_ks = _rotate(qkv_ref[rows(h, 1), lanes].astype(jnp.float32), *angles(lanes)).astype(dtype)
      q_ref[of_head(h), lanes], kt_ref[of_head(h), lanes] = q_ks.astype(dtype), k_ks
      k_ref[h, lanes], v_ref[h, lanes] = k_ks.T, qkv_ref[rows(h, 2), lanes].T
      if not plan.whole:
        out_ks, d_out_ks = (ref[of_head(h), lanes].astype(jnp.float32) for ref in (out_ref, d_out_ref))
        merged[0][pl.ds(h, 1), lanes] = (out_ks * d_out_ks).sum(0, keepdims=True)

  def attend(query_start, key_start, spans, *, diagonal):

    def begin(item):
      h, (query, key, count) = item
      queries, keys = _lanes(query_start + query * tile, tile), _lanes(key_start + key * tile, count * tile)
      scores = _dot(k_ref[h, keys], q_ref[of_head(h), queries], 1, 0)
      return scores, _dot(v_ref[h, keys], d_out_ref[of_head(h), queries], 1, 0)

    def finish(item, begun):
      h, (query, key, count) = item
      queries, first_key = _lanes(query_start + query * tile, tile), key_start + key * tile
      grid = _Tiles(plan, first_key, first_ref[0, :, queries], count, diagonal=diagonal)
      lse_1s = lse_ref[0, pl.ds(h, 1), queries]
      scores, d_weights = (grid.split(x) for x in begun)
      weights = grid.where_visible([jnp.exp2(t * scale - lse_1s) for t in scores], 0.0)
      if plan.whole:
        d_scores = [p * dp for p, dp in zip(weights, d_weights)]
        delta_1s = _sum([t.sum(0, keepdims=True) for t in d_scores])
        d_scores = [(t - p * delta_1s).astype(dtype) for p, t in zip(weights, d_scores)]
      else:
        delta_1s = merged[0][pl.ds(h, 1), queries]
        d_scores = [(p * (dp - delta_1s)).astype(dtype) for p, dp in zip(weights, d_weights)]
      weights, d_scores = jnp.concatenate([p.astype(dtype) for p in weights], 0), jnp.concatenate(d_scores, 0)

      dq_ks = _dot(kt_ref[of_head(h), _lanes(first_key, count * tile)], d_scores, 1, 0)
      if plan.whole:
        write_dq(h, queries, dq_ks)
      elif diagonal:
        merged[1][of_head(h), queries] = dq_ks
      else:
        merged[1][of_head(h), queries] += dq_ks

      dv_ks = _dot(d_out_ref[of_head(h), queries], weights, 1, 1)
      dk_ks = _dot(q_ref[of_head(h), queries], d_scores, 1, 1)
      before = count - diagonal
      if before:
        lanes = _lanes(first_key, before * tile)
        dv_ref[of_head(h), lanes] += dv_ks[:, : before * tile]
        dk_ref[of_head(h), lanes] += dk_ks[:, : before * tile]
      if diagonal:
        dv_ref[of_head(h), queries] = dv_ks[:, before * tile :]
        dk_ref[of_head(h), queries] = dk_ks[:, before * tile :]

    _staggered([(h, span) for span in spans for h in heads], begin, finish, plan.blocks.ahead_backward)

  def write_dq(h, lanes, dq_ks):
    d_qkv_ref[rows(h, 0), lanes] = _rotate_back(dq_ks * d**-0.5, *angles(lanes)).astype(dtype)

  _each_part(plan, reach_ref, attend)

  @pl.loop(0, plan.chunks)
  def _(c):
    lanes = _lanes(c * chunk, chunk)
    for h in heads:
      if not plan.whole:
        write_dq(h, lanes, merged[1][of_head(h), lanes])
      dk_ks = _rotate_back(dk_ref[of_head(h), lanes] * d**-0.5, *angles(lanes))
      d_qkv_ref[rows(h, 1), lanes] = dk_ks.astype(dtype)
      d_qkv_ref[rows(h, 2), lanes] = dv_ref[of_head(h), lanes].astype(dtype)


# What a block of an operand holds for one grid step.
_SCALARS, _FEATURES, _HEADS, _FIRST, _ROTARY = range(5)


def _call(plan: _Plan, kernel, name: str, *, products: int, operands, results, scratch):
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
    return pl.BlockSpec((1, *shape[1:]), lambda b, g, *_: (b, 0, 0))

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


def _forward(plan: _Plan, qkv_wn, first_bs, rotary_bks) -> tuple[jax.Array, jax.Array]:
  d, hp, length, dtype = plan.head_dim, plan.step_heads, plan.length, qkv_wn.dtype
  merged = [((hp, length), jnp.float32)] * 2 + [((hp * d, length), jnp.float32)]
  return _call(
      plan, _forward_kernel, "attention_forward", products=2,
      operands=[(_SCALARS, _reach(plan, first_bs)), (_FEATURES, qkv_wn), (_FIRST, first_bs[:, None]),
                (_ROTARY, rotary_bks)],
      results=[(_FEATURES, (plan.heads * d, qkv_wn.shape[1]), dtype),
               (_HEADS, (plan.batch * plan.grid[1], hp, length), jnp.float32)],
      scratch=[((hp * d, length), dtype), ((hp, length, d), dtype), *([] if plan.whole else merged)],
  )  # fmt: skip


def _backward(plan: _Plan, qkv_wn, out_wn, d_out_wn, lse, first_bs, rotary_bks) -> jax.Array:
  d, hp, length, dtype = plan.head_dim, plan.step_heads, plan.length, qkv_wn.dtype
  features, tokens = ((hp * d, length), dtype), ((hp, length, d), dtype)
  sums = ((hp * d, length), jnp.float32)
  (d_qkv_wn,) = _call(
      plan, _backward_kernel, "attention_backward", products=5,
      operands=[(_SCALARS, _reach(plan, first_bs)), (_FEATURES, qkv_wn), (_FEATURES, d_out_wn), (_HEADS, lse),
                (_FIRST, first_bs[:, None]), (_ROTARY, rotary_bks), *([] if plan.whole else [(_FEATURES, out_wn)])],
      results=[(_FEATURES, qkv_wn.shape, dtype)],
      scratch=[features, features, tokens, tokens, sums, sums,
               *([] if plan.whole else [((hp, length), jnp.float32), sums])],
  )  # fmt: skip
  return d_qkv_wn


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(plan: _Plan, qkv_wn, first_bs, rotary_bks):
  return _forward(plan, qkv_wn, first_bs, rotary_bks)[0]


def _attention_fwd(plan: _Plan, qkv_wn, first_bs, rotary_bks):
  out_wn, lse = _forward(plan, qkv_wn, first_bs, rotary_bks)
  # Named, so that a rematerialisation policy can keep them: the forward kernel then runs once a step.
  out_wn, lse = checkpoint_name(out_wn, "attention_out"), checkpoint_name(lse, "attention_lse")
  return out_wn, (qkv_wn, out_wn, lse, first_bs, rotary_bks)


def _attention_bwd(plan: _Plan, residuals, d_out_wn):
  qkv_wn, out_wn, lse, first_bs, rotary_bks = residuals
  return _backward(plan, qkv_wn, out_wn, d_out_wn, lse, first_bs, rotary_bks), None, None


_attention.defvjp(_attention_fwd, _attention_bwd)


def _first_tokens(segment_ids_bs: jax.Array) -> jax.Array:
  """int32 [b, s]: index of the first token of each one's document."""
  index_bs = jax.lax.broadcasted_iota(jnp.int32, segment_ids_bs.shape, 1)
  begins_bs = jnp.diff(segment_ids_bs, axis=1, prepend=segment_ids_bs[:, :1] - 1) != 0
  return jax.lax.cummax(jnp.where(begins_bs, index_bs, 0), axis=1)


def _reach(plan: _Plan, first_bs: jax.Array) -> jax.Array:
  """What `_each_chunk` is told of each sequence."""
  if plan.chunks > 1:
    return first_bs[:, :: plan.chunk] // plan.chunk
  tile_bt = jax.lax.broadcasted_iota(jnp.int32, (plan.batch, plan.length // plan.tile), 1)
  return (tile_bt - first_bs[:, :: plan.tile] // plan.tile + 1).max(1, keepdims=True)


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
  multiple = _LANES if length <= _UNROLLED else _CHUNK
  padding = -length % multiple
  if padding:
    # No earlier token sees the padding: it comes last.
    qkv_wn = jnp.pad(qkv_wn.reshape(features, batch, length), ((0, 0), (0, 0), (0, padding))).reshape(features, -1)
    segment_ids_bs = jnp.pad(segment_ids_bs, ((0, 0), (0, padding)), mode="edge")
    rotary_bks = jnp.pad(rotary_bks, ((0, 0), (0, 0), (0, padding)))
  plan = _Plan(
      batch=batch,
      length=length + padding,
      head_dim=head_dim,
      heads=features // (3 * head_dim),
      blocks=BLOCKS.get(device_kind, DEFAULT_BLOCKS),
      interpret=interpret,
  )
  out_wn = _attention(plan, qkv_wn, _first_tokens(segment_ids_bs), rotary_bks)
  if padding:
    out_wn = out_wn.reshape(-1, batch, length + padding)[:, :, :length].reshape(-1, batch * length)
  return out_wn
