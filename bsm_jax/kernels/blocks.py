"""The parts of a layer around attention: norm and projection, and the norm, SwiGLU and residual of the MLP.

Precision, here and in all kernels: parameters and their gradients are fp32, summed over tokens and devices in fp32;
operands of matrix products and what is kept for the backward pass have the dtype of the activations; norms, softmax,
activations, and all sums inside products are fp32.

Suffixes: n tokens, d d_model, w features of the projection, f d_ff.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from bsm_jax.kernels.tpu_blocks import TpuBlocks

BLOCKS = ("xla", "tpu", "tpu_interpret")


def rms_norm(x: jax.Array, scale_d: jax.Array, eps: float) -> jax.Array:
  """Root-mean-square norm over the last axis (arXiv 1910.07467), computed in fp32, returned in x's dtype."""
  x32 = x.astype(jnp.float32)
  normed = x32 * jax.lax.rsqrt(jnp.mean(jnp.square(x32), axis=-1, keepdims=True) + eps)
  return (normed * jnp.broadcast_to(scale_d, x.shape)).astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def product(subscripts: str, x: jax.Array, weight: jax.Array, dtype: jax.typing.DTypeLike | None = None) -> jax.Array:
  """`einsum(subscripts, x, weight)`, whose gradient of the fp32 weight is never rounded to the dtype of x.

  Args:
    subscripts: as `"nd,dw->nw"`: two matrices, one contracted axis.
    x: tokens.
    weight: fp32; rounded to x's dtype for the product.
    dtype: of the result; x's by default.
  """
  return _product_fwd(subscripts, x, weight, dtype)[0]


def _product_fwd(subscripts, x, weight, dtype):
  weight = weight.astype(x.dtype)
  return jnp.einsum(subscripts, x, weight, preferred_element_type=dtype), (x, weight)


def _product_bwd(subscripts, dtype, residuals, d_out):
  del dtype
  x, weight = residuals
  operands, out = subscripts.split("->")
  of_x, of_weight = operands.split(",")
  d_out = d_out.astype(x.dtype)
  dx = jnp.einsum(f"{out},{of_weight}->{of_x}", d_out, weight)
  return dx, jnp.einsum(f"{of_x},{out}->{of_weight}", x, d_out, preferred_element_type=jnp.float32)


product.defvjp(_product_fwd, _product_bwd)


@dataclasses.dataclass(frozen=True)
class XlaBlocks:
  """The parts as plain operations, for XLA to fuse.

  Attributes:
    eps: added to the mean square in the norms.
    feature_major: projections are [features, tokens], else [tokens, features].
  """

  eps: float
  feature_major: bool
  name = "xla"

  def norm_projection(self, x_nd: jax.Array, scale_d: jax.Array, weight_dw: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Projects the normed x.

    Args:
      x_nd: the residual stream.
      scale_d: fp32 scale of the norm.
      weight_dw: fp32.

    Returns:
      the residual stream to go on with, and the projection, of x's dtype.
    """
    y_nd = rms_norm(x_nd, scale_d, self.eps)
    return x_nd, product("nd,dw->wn" if self.feature_major else "nd,dw->nw", y_nd, weight_dw)

  def mlp(self, x_nd: jax.Array, scale_d: jax.Array, gate_up_df: jax.Array, down_fd: jax.Array) -> jax.Array:
    """x plus the SwiGLU (arXiv 2002.05202) of its norm.

    Args:
      x_nd: the residual stream.
      scale_d: fp32 scale of the norm.
      gate_up_df: fp32 [d, 2 f], gates, then values.
      down_fd: fp32.
    """
    y_nd = rms_norm(x_nd, scale_d, self.eps)
    gate_nf, up_nf = jnp.split(product("nd,df->nf", y_nd, gate_up_df), 2, axis=-1)
    return x_nd + product("nf,fd->nd", jax.nn.silu(gate_nf) * up_nf, down_fd)


Blocks = XlaBlocks | TpuBlocks


def choose_blocks(
    implementation: str, eps: float, device: jax.Device, *, feature_major: bool, over_devices: Callable | None = None
) -> Blocks:
  """The implementation of that name for such a device.

  Args:
    implementation: one of `BLOCKS`; or "auto": "tpu" on TPUs, else "xla". "tpu_interpret" runs the TPU kernels in
      Pallas' interpreter, on any platform and slowly.
    eps: of the norms.
    device: where it will run; one of a topology that is not there will do.
    feature_major: what attention takes.
    over_devices: see `TpuBlocks`; None on one device.

  Raises:
    ValueError: an unknown name, or one that the platform or the attention cannot go with.
  """
  best = "tpu" if device.platform == "tpu" and feature_major else "xla"
  name = best if implementation == "auto" else implementation
  if name not in BLOCKS:
    raise ValueError(f"unknown implementation of a layer's blocks {name!r}: use 'auto' or one of {sorted(BLOCKS)}")
  if name == "xla":
    return XlaBlocks(eps, feature_major)
  if not feature_major:
    raise ValueError(f"blocks {name!r} go with attention 'tpu' or 'tpu_interpret' only: use 'auto' or 'xla'")
  if name == "tpu" and device.platform != "tpu":
    raise ValueError(f"blocks 'tpu' need a tpu, not a {device.platform}: use 'auto' or 'tpu_interpret'")
  settings = {} if over_devices is None else {"over_devices": over_devices}
  return TpuBlocks(eps, device_kind=device.device_kind, interpret=name == "tpu_interpret", **settings)
