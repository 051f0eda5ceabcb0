"""Bodies of the TPU attention kernels: one grid step, all tokens of a sequence for a few heads; see `kernels.tpu`."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from bsm_jax.kernels.reference import MASKED

_LOG2_E = math.log2(math.e)
LANES = 128
# The longest sequence that is one unrolled block, and the chunk of longer ones.
UNROLLED = 1024
CHUNK = 512
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


@dataclasses.dataclass(frozen=True)
class Plan:
  """Everything static about a call: shapes, blocks, and whether it is interpreted."""

  batch: int
  length: int
  head_dim: int
  heads: int  # In all.
  blocks: Blocks
  interpret: bool

  def vmem_bytes(self, step_heads: int) -> int:
    """Of the backward kernel's blocks, twice for the pipeline, and of its scratch; the forward needs less."""
    padded = -(-self.head_dim // LANES) * LANES
    of_head = 2 * (3 + 1 + 1 + 3) * self.head_dim * 2 + 2 * self.head_dim * 2 + 2 * padded * 2 + 3 * self.head_dim * 4
    return self.length * (step_heads * of_head + 2 * 2 * self.head_dim * 4)

  @property
  def step_heads(self) -> int:
    fits = lambda n: self.heads % n == 0 and self.vmem_bytes(n) <= _VMEM_BUDGET
    return next((n for n in range(min(self.blocks.heads, self.heads), 0, -1) if fits(n)), 1)

  @property
  def tile(self) -> int:
    return self.blocks.tile if self.length % self.blocks.tile == 0 else LANES

  @property
  def chunk(self) -> int:
    return self.length if self.length <= UNROLLED else CHUNK

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


def dot(a: jax.Array, b: jax.Array, contract_a: int, contract_b: int) -> jax.Array:
  """A product of two matrices over one axis of each, summed in fp32; fp32 operands are not rounded."""
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

  def __init__(self, plan: Plan, first_key, first_1s: jax.Array, count: int, *, diagonal: bool):
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


def _each_part(plan: Plan, reach_ref, attend) -> None:
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
  near = min(max(2, _NEAR // plan.tile), tiles)

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
  return pl.ds(start if isinstance(start, int) else pl.multiple_of(start, LANES), size)


def forward_kernel(plan: Plan, reach_ref, qkv_ref, first_ref, rotary_ref, out_ref, lse_ref, *scratch):
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
      return dot(k_sk, q_ref[pl.ds(h * d, d), _lanes(query_start + query * tile, tile)], 1, 0)

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
      sum_ks = dot(v_ks, jnp.concatenate([t.astype(dtype) for t in tiles], 0), 1, 0)
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


def backward_kernel(
    plan: Plan, reach_ref, qkv_ref, d_out_ref, lse_ref, first_ref, rotary_ref, *refs
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
      scores = dot(k_ref[h, keys], q_ref[of_head(h), queries], 1, 0)
      return scores, dot(v_ref[h, keys], d_out_ref[of_head(h), queries], 1, 0)

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

      dq_ks = dot(kt_ref[of_head(h), _lanes(first_key, count * tile)], d_scores, 1, 0)
      if plan.whole:
        write_dq(h, queries, dq_ks)
      elif diagonal:
        merged[1][of_head(h), queries] = dq_ks
      else:
        merged[1][of_head(h), queries] += dq_ks

      dv_ks = dot(d_out_ref[of_head(h), queries], weights, 1, 1)
      dk_ks = dot(q_ref[of_head(h), queries], d_scores, 1, 1)
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
