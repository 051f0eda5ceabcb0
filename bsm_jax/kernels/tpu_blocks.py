"""The parts of a layer around attention as fused TPU kernels: norm and projection, norm and SwiGLU.

Each walks over tiles of tokens with the weights resident in VMEM, so that norms, activations, residual additions and
their gradients happen while a tile is there, beside the matrix unit's work, and no normalised or activated tensor is
written for the backward pass. Gradients of weights are left to XLA, whose products with tokens contracted are as good.

Suffixes: n tokens, d d_model, w features of the projection, f d_ff.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from bsm_jax.kernels.tpu_attention import dot


@dataclasses.dataclass(frozen=True)
class Tiles:
  """Tokens of a grid step of the MLP's kernels and of the projection's.

  Fewer leave the matrix unit waiting for weights, more make code that compiles for minutes, for 1 % of speed.
  """

  mlp: int
  projection: int


# Best static estimates at 16 x 1024 tokens of 768 features, by `device_kind`.
TILES = {
    "TPU v5 lite": Tiles(mlp=128, projection=256),
    "TPU v5": Tiles(mlp=128, projection=256),
    "TPU v6 lite": Tiles(mlp=256, projection=512),
    "TPU7x": Tiles(mlp=256, projection=512),
}
DEFAULT_TILES = TILES["TPU v5 lite"]
# A sum over the tokens of a tile is left in this many rows: a register's, so that it needs no reduction inside it.
_PARTIAL_ROWS = 8


def _fp32_product(subscripts: str, a: jax.Array, b: jax.Array) -> jax.Array:
  """A weight's gradient: summed, over devices too, and kept in fp32."""
  return jnp.einsum(subscripts, a, b, preferred_element_type=jnp.float32)


def _normalised(x_nd: jax.Array, eps: float) -> tuple[jax.Array, jax.Array]:
  """x over its root mean square, and the reciprocal of that; fp32."""
  reciprocal_n1 = jax.lax.rsqrt(jnp.mean(x_nd * x_nd, axis=-1, keepdims=True) + eps)
  return x_nd * reciprocal_n1, reciprocal_n1


def _norm_backward(d_out_nd, normalised_nd, reciprocal_n1, scale_1d) -> tuple[jax.Array, jax.Array]:
  """Gradients of x, and of the scale as a sum over the tile's tokens that is left in `_PARTIAL_ROWS` rows."""
  d_normalised_nd = d_out_nd * scale_1d
  along_n1 = jnp.mean(d_normalised_nd * normalised_nd, axis=-1, keepdims=True)
  d_scale_nd = d_out_nd * normalised_nd
  partial = d_scale_nd.reshape(-1, _PARTIAL_ROWS, d_scale_nd.shape[-1]).sum(0)
  return reciprocal_n1 * (d_normalised_nd - normalised_nd * along_n1), partial


def _projection_kernel(x_ref, scale_ref, weight_ref, out_ref, *, eps: float):
  normalised_nd, _ = _normalised(x_ref[...].astype(jnp.float32), eps)
  y_nd = (normalised_nd * scale_ref[...]).astype(x_ref.dtype)
  out_ref[...] = dot(weight_ref[...], y_nd, 0, 1).astype(out_ref.dtype)


def _projection_backward_kernel(
    d_out_ref, x_ref, d_residual_ref, scale_ref, weight_ref, dx_ref, y_ref, d_scale_ref, *, eps: float
):
  d_y_nd = dot(d_out_ref[...], weight_ref[...], 0, 1)
  normalised_nd, reciprocal_n1 = _normalised(x_ref[...].astype(jnp.float32), eps)
  dx_nd, d_scale_ref[...] = _norm_backward(d_y_nd, normalised_nd, reciprocal_n1, scale_ref[...])
  dx_ref[...] = (d_residual_ref[...].astype(jnp.float32) + dx_nd).astype(dx_ref.dtype)
  y_ref[...] = (normalised_nd * scale_ref[...]).astype(y_ref.dtype)


def _mlp_kernel(x_ref, scale_ref, gate_up_ref, down_ref, out_ref, hidden_ref, *, eps: float):
  x_nd = x_ref[...].astype(jnp.float32)
  y_nd = (_normalised(x_nd, eps)[0] * scale_ref[...]).astype(x_ref.dtype)
  hidden_nf = dot(y_nd, gate_up_ref[...], 1, 0)
  hidden_ref[...] = hidden_nf.astype(hidden_ref.dtype)
  gate_nf, up_nf = jnp.split(hidden_nf, 2, axis=1)
  activated_nf = (jax.nn.silu(gate_nf) * up_nf).astype(x_ref.dtype)
  out_ref[...] = (x_nd + dot(activated_nf, down_ref[...], 1, 0)).astype(out_ref.dtype)


def _mlp_backward_kernel(
    d_out_ref, x_ref, hidden_ref, scale_ref, gate_up_ref, down_ref,
    dx_ref, d_hidden_ref, activated_ref, y_ref, d_scale_ref, *, eps: float,
):  # fmt: skip
  d_activated_nf = dot(d_out_ref[...], down_ref[...], 1, 1)
  gate_nf, up_nf = jnp.split(hidden_ref[...].astype(jnp.float32), 2, axis=1)
  sigmoid_nf = jax.nn.sigmoid(gate_nf)
  silu_nf = gate_nf * sigmoid_nf
  activated_ref[...] = (silu_nf * up_nf).astype(activated_ref.dtype)
  d_gate_nf = d_activated_nf * up_nf * (sigmoid_nf + silu_nf * (1.0 - sigmoid_nf))
  d_hidden_nf = jnp.concatenate([d_gate_nf, d_activated_nf * silu_nf], axis=1).astype(d_hidden_ref.dtype)
  d_hidden_ref[...] = d_hidden_nf
  d_y_nd = dot(d_hidden_nf, gate_up_ref[...], 1, 1)
  normalised_nd, reciprocal_n1 = _normalised(x_ref[...].astype(jnp.float32), eps)
  dx_nd, d_scale_ref[...] = _norm_backward(d_y_nd, normalised_nd, reciprocal_n1, scale_ref[...])
  dx_ref[...] = (d_out_ref[...].astype(jnp.float32) + dx_nd).astype(dx_ref.dtype)
  y_ref[...] = (normalised_nd * scale_ref[...]).astype(y_ref.dtype)


# How an array is cut: tiles of tokens in its rows, or its columns, not at all, or `_PARTIAL_ROWS` rows for each tile.
_ROWS, _COLUMNS, _WHOLE, _PARTIAL = range(4)


@dataclasses.dataclass(frozen=True)
class TpuBlocks:
  """The fused parts of a layer.

  Attributes:
    eps: added to the mean square in the norms.
    over_devices: `over_devices(function, in_cuts, out_cuts) -> function` runs a function on every device's own tokens;
      cuts are 0 for arrays with tokens in rows, 1 for tokens in columns, 2 for whole arrays. By default, one device.
    device_kind: of the chip that will run it; chooses from `TILES`.
    interpret: run in Pallas' interpreter, on any platform.
  """

  eps: float
  over_devices: Callable = lambda function, in_cuts, out_cuts: function
  device_kind: str = ""
  interpret: bool = False

  @property
  def tiles(self) -> Tiles:
    return TILES.get(self.device_kind, DEFAULT_TILES)

  @property
  def name(self) -> str:
    return "tpu_interpret" if self.interpret else "tpu"

  def call(self, kernel, name: str, operands: Sequence[tuple[int, jax.Array]], results, *, tile: int, macs: int):
    """A Pallas call over tiles of tokens.

    Args:
      kernel, name: the kernel, and what profiles call it.
      operands: `(cut, array)`.
      results: `(cut, features, dtype)`.
      tile: tokens of a grid step.
      macs: multiplications of a token, for XLA's scheduler.
    """

    def run(*arrays):
      cuts = [cut for cut, _ in operands]
      tokens = next(a.shape[cut] for cut, a in zip(cuts, arrays) if cut != _WHOLE)
      if tokens % tile:
        raise ValueError(
            f"{name}: {tokens} tokens a device are no multiple of {tile}: change the batch, or use model.blocks='xla'"
        )
      steps = tokens // tile

      def spec(cut: int, shape: tuple[int, ...]) -> pl.BlockSpec:
        if cut == _WHOLE:
          # Read once, so one buffer does.
          return pl.BlockSpec(shape, lambda i: (0, 0), pipeline_mode=pl.Buffered(1))
        if cut == _COLUMNS:
          return pl.BlockSpec((shape[0], tile), lambda i: (0, i))
        return pl.BlockSpec((shape[0] // steps, shape[1]), lambda i: (i, 0))

      shape_of = lambda cut, features: {
          _ROWS: (tokens, features), _COLUMNS: (features, tokens), _PARTIAL: (steps * _PARTIAL_ROWS, features)
      }[cut]
      found = [jax.ShapeDtypeStruct(shape_of(cut, features), dtype) for cut, features, dtype in results]
      everything = list(zip([*cuts, *(cut for cut, _, _ in results)], [*arrays, *found]))
      size = lambda x: x.size * x.dtype.itemsize
      held = sum(size(x) if cut == _WHOLE else 2 * size(x) // steps for cut, x in everything)
      call = pl.pallas_call(
          functools.partial(kernel, eps=self.eps),
          grid=(steps,),
          in_specs=[spec(cut, a.shape) for cut, a in zip(cuts, arrays)],
          out_specs=[spec(cut, x.shape) for (cut, _, _), x in zip(results, found)],
          out_shape=found,
          compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",), vmem_limit_bytes=held + (24 << 20)),
          cost_estimate=pl.CostEstimate(
              flops=2 * tokens * macs, transcendentals=0, bytes_accessed=sum(size(x) for _, x in everything)
          ),
          interpret=self.interpret,
          name=name,
      )
      return tuple(call(*arrays))

    # Partial sums of a device's tiles are rows like its tokens'.
    out_cuts = [_ROWS if cut == _PARTIAL else cut for cut, _, _ in results]
    return self.over_devices(run, [cut for cut, _ in operands], out_cuts)(*(array for _, array in operands))

  def norm_projection(self, x_nd: jax.Array, scale_d: jax.Array, weight_dw: jax.Array) -> tuple[jax.Array, jax.Array]:
    """See `bsm_jax.kernels.blocks.XlaBlocks.norm_projection`; features first."""
    return _norm_projection(self, x_nd, scale_d, weight_dw)

  def mlp(self, x_nd: jax.Array, scale_d: jax.Array, gate_up_df: jax.Array, down_fd: jax.Array) -> jax.Array:
    """See `bsm_jax.kernels.blocks.XlaBlocks.mlp`."""
    return _mlp(self, x_nd, scale_d, gate_up_df, down_fd)


# --- Norm and projection


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _norm_projection(blocks: TpuBlocks, x_nd, scale_d, weight_dw):
  return _norm_projection_fwd(blocks, x_nd, scale_d, weight_dw)[0]


def _norm_projection_fwd(blocks: TpuBlocks, x_nd, scale_d, weight_dw):
  weight_dw = weight_dw.astype(x_nd.dtype)
  (out_wn,) = blocks.call(
      _projection_kernel, "norm_projection", [(_ROWS, x_nd), (_WHOLE, scale_d[None]), (_WHOLE, weight_dw)],
      [(_COLUMNS, weight_dw.shape[1], x_nd.dtype)], tile=blocks.tiles.projection, macs=weight_dw.size,
  )  # fmt: skip
  return (x_nd, checkpoint_name(out_wn, "projection")), (x_nd, scale_d, weight_dw)


def _norm_projection_bwd(blocks: TpuBlocks, residuals, cotangents):
  x_nd, scale_d, weight_dw = residuals
  d_residual_nd, d_out_wn = cotangents
  d_model = x_nd.shape[1]
  dx_nd, y_nd, d_scale = blocks.call(
      _projection_backward_kernel, "norm_projection_backward",
      [(_COLUMNS, d_out_wn), (_ROWS, x_nd), (_ROWS, d_residual_nd), (_WHOLE, scale_d[None]), (_WHOLE, weight_dw)],
      [(_ROWS, d_model, x_nd.dtype), (_ROWS, d_model, x_nd.dtype), (_PARTIAL, d_model, jnp.float32)],
      tile=blocks.tiles.projection, macs=weight_dw.size,
  )  # fmt: skip
  return dx_nd, d_scale.sum(0), _fp32_product("wn,nd->dw", d_out_wn, y_nd)


_norm_projection.defvjp(_norm_projection_fwd, _norm_projection_bwd)


# --- Norm, SwiGLU and residual


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mlp(blocks: TpuBlocks, x_nd, scale_d, gate_up_df, down_fd):
  return _mlp_fwd(blocks, x_nd, scale_d, gate_up_df, down_fd)[0]


def _mlp_fwd(blocks: TpuBlocks, x_nd, scale_d, gate_up_df, down_fd):
  gate_up_df, down_fd = gate_up_df.astype(x_nd.dtype), down_fd.astype(x_nd.dtype)
  out_nd, hidden_nf = blocks.call(
      _mlp_kernel, "mlp", [(_ROWS, x_nd), (_WHOLE, scale_d[None]), (_WHOLE, gate_up_df), (_WHOLE, down_fd)],
      [(_ROWS, x_nd.shape[1], x_nd.dtype), (_ROWS, gate_up_df.shape[1], x_nd.dtype)],
      tile=blocks.tiles.mlp, macs=gate_up_df.size + down_fd.size,
  )  # fmt: skip
  return out_nd, (x_nd, scale_d, gate_up_df, down_fd, checkpoint_name(hidden_nf, "mlp_hidden"))


def _mlp_bwd(blocks: TpuBlocks, residuals, d_out_nd):
  x_nd, scale_d, gate_up_df, down_fd, hidden_nf = residuals
  d_model, d_ff = x_nd.shape[1], down_fd.shape[0]
  dx_nd, d_hidden_nf, activated_nf, y_nd, d_scale = blocks.call(
      _mlp_backward_kernel, "mlp_backward",
      [(_ROWS, d_out_nd), (_ROWS, x_nd), (_ROWS, hidden_nf), (_WHOLE, scale_d[None]), (_WHOLE, gate_up_df),
       (_WHOLE, down_fd)],
      [(_ROWS, d_model, x_nd.dtype), (_ROWS, 2 * d_ff, x_nd.dtype), (_ROWS, d_ff, x_nd.dtype),
       (_ROWS, d_model, x_nd.dtype), (_PARTIAL, d_model, jnp.float32)],
      tile=blocks.tiles.mlp, macs=gate_up_df.size + down_fd.size,
  )  # fmt: skip
  return dx_nd, d_scale.sum(0), _fp32_product("na,nb->ab", y_nd, d_hidden_nf), _fp32_product(
      "na,nb->ab", activated_nf, d_out_nd
  )


_mlp.defvjp(_mlp_fwd, _mlp_bwd)
