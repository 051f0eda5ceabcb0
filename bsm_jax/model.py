"""The BSM decoder: a Llama-layout Transformer in Flax NNX, its layers stacked and scanned.

Paper: Xiang, Han, Chai, Bai, "BSM: Small but Powerful Biological Sequence Model for Genes and Proteins",
arXiv 2410.11499. RMSNorm, half-split rotary positions (base 100,000), SwiGLU, no biases, tied embedding.

Array names carry their shape: b batch, s sequence, d d_model, h heads, k head_dim, f d_ff, v padded vocabulary.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from bsm_jax.kernels import attention
from bsm_jax.kernels.reference import MASKED

# The embedding has one row for each lane of a TPU vector register; ids beyond the vocabulary never occur.
PADDED_VOCAB_SIZE = 128

# What the backward pass keeps of each layer: everything, the outputs of matrix products, or only the layer's input.
REMAT_POLICIES = {
    "none": jax.checkpoint_policies.everything_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """Shape of a decoder.

  Attributes:
    vocab_size: token ids in use; logits of the padding rows above it are masked.
    n_layers, n_heads, d_model, head_dim, d_ff: the usual sizes; heads * head_dim need not be d_model.
    rope_theta: base of the rotary frequencies.
    norm_eps: added to the mean square in RMSNorm.
    dtype: of activations and matrix products; parameters are always fp32.
    remat: a key of `REMAT_POLICIES`.
    unroll: layers in one iteration of the scan; n_layers unrolls it (faster on CPUs, slower to compile).
    attention: an implementation of `bsm_jax.kernels.attention`.
  """

  vocab_size: int
  n_layers: int
  n_heads: int
  d_model: int
  head_dim: int
  d_ff: int
  rope_theta: float = 100_000.0
  norm_eps: float = 1e-5
  dtype: str = "bfloat16"
  remat: str = "none"
  unroll: int = 1
  attention: str = "auto"

  def __post_init__(self):
    if self.head_dim % 2:
      raise ValueError(f"head_dim must be even for rotary positions, not {self.head_dim}")
    if not 0 < self.vocab_size <= PADDED_VOCAB_SIZE:
      raise ValueError(f"vocab_size must be in 1..{PADDED_VOCAB_SIZE}, not {self.vocab_size}")
    if self.remat not in REMAT_POLICIES:
      raise ValueError(f"unknown remat policy {self.remat!r}: use one of {sorted(REMAT_POLICIES)}")

  @property
  def matmul_params(self) -> int:
    """Parameters that take part in matrix products, the tied head counted once (analytic FLOPs rest on it)."""
    layer = 4 * self.d_model * self.n_heads * self.head_dim + 3 * self.d_model * self.d_ff
    return self.n_layers * layer + PADDED_VOCAB_SIZE * self.d_model


def rms_norm(x: jax.Array, scale_d: jax.Array, eps: float) -> jax.Array:
  """Root-mean-square norm over the last axis (arXiv 1910.07467), computed in fp32, returned in x's dtype."""
  x32 = x.astype(jnp.float32)
  normed = x32 * jax.lax.rsqrt(jnp.mean(jnp.square(x32), axis=-1, keepdims=True) + eps)
  return (normed * jnp.broadcast_to(scale_d, x.shape)).astype(x.dtype)


def rotary_angles(positions_bs: jax.Array, head_dim: int, theta: float) -> tuple[jax.Array, jax.Array]:
  """Cosines and sines of the rotary angles, fp32 [b, s, 1, head_dim / 2] each (arXiv 2104.09864)."""
  frequencies_k = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
  angles_bs1k = positions_bs.astype(jnp.float32)[:, :, None, None] * frequencies_k[None, None, None, :]
  return jnp.cos(angles_bs1k), jnp.sin(angles_bs1k)


def apply_rotary(x_bshk: jax.Array, rotary: tuple[jax.Array, jax.Array]) -> jax.Array:
  """Rotates the two halves of each head against each other (Llama's half-split layout), in fp32."""
  cos, sin = rotary
  x1, x2 = jnp.split(x_bshk.astype(jnp.float32), 2, axis=-1)
  return jnp.concatenate([x1 * cos - x2 * sin, x2 * cos + x1 * sin], axis=-1).astype(x_bshk.dtype)


def _normal(rngs: nnx.Rngs, shape: tuple[int, ...], scale: float) -> nnx.Param:
  return nnx.Param(scale * jax.random.normal(rngs.params(), shape, jnp.float32))


def linear(x: jax.Array, weight: nnx.Param) -> jax.Array:
  """`x @ weight` over the last axis, in x's dtype.

  Leading axes are flattened: the gradient of the weight is then one product of two matrices, where XLA's CPU compiler
  transposes the operands of the three-dimensional form (an MLP's forward and backward then take twice the time).
  """
  flat = x.reshape(-1, x.shape[-1]) @ weight[...].astype(x.dtype)
  return flat.reshape(*x.shape[:-1], -1)


class Layer(nnx.Module):
  """Attention and SwiGLU, each behind an RMSNorm and added to the residual."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    d, width, f = config.d_model, config.n_heads * config.head_dim, config.d_ff
    residual_scale = 0.02 / (2 * config.n_layers) ** 0.5
    self.config = config
    self.attention_norm = nnx.Param(jnp.ones(d))
    self.qkv = _normal(rngs, (d, 3 * width), 0.02)
    self.attention_out = _normal(rngs, (width, d), residual_scale)
    self.mlp_norm = nnx.Param(jnp.ones(d))
    self.gate_up = _normal(rngs, (d, 2 * f), 0.02)
    self.down = _normal(rngs, (f, d), residual_scale)

  def __call__(self, x_bsd: jax.Array, segment_ids_bs: jax.Array, rotary: tuple[jax.Array, jax.Array]) -> jax.Array:
    c = self.config
    batch, length, _ = x_bsd.shape
    y_bsd = rms_norm(x_bsd, self.attention_norm[...], c.norm_eps)
    qkv = linear(y_bsd, self.qkv).reshape(batch, length, 3, c.n_heads, c.head_dim)
    q_bshk, k_bshk, v_bshk = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
    q_bshk, k_bshk = apply_rotary(q_bshk, rotary), apply_rotary(k_bshk, rotary)
    attended_bshk = attention(q_bshk, k_bshk, v_bshk, segment_ids_bs, implementation=c.attention)
    x_bsd = x_bsd + linear(attended_bshk.reshape(batch, length, -1), self.attention_out)

    y_bsd = rms_norm(x_bsd, self.mlp_norm[...], c.norm_eps)
    gate_bsf, up_bsf = jnp.split(linear(y_bsd, self.gate_up), 2, axis=-1)
    return x_bsd + linear(jax.nn.silu(gate_bsf) * up_bsf, self.down)


class Decoder(nnx.Module):
  """Next-token model over packed rows of tokens."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    self.config = config
    self.embedding = _normal(rngs, (PADDED_VOCAB_SIZE, config.d_model), 0.02)
    self.final_norm = nnx.Param(jnp.ones(config.d_model))

    @nnx.split_rngs(splits=config.n_layers)
    @nnx.vmap(in_axes=0, out_axes=0)
    def stack(layer_rngs: nnx.Rngs) -> Layer:
      return Layer(config, layer_rngs)

    self.layers = stack(rngs)

  def __call__(self, tokens_bs: jax.Array, segment_ids_bs: jax.Array, positions_bs: jax.Array) -> jax.Array:
    """Logits of the next token at every position.

    Args:
      tokens_bs: ids, any integer dtype [b, s].
      segment_ids_bs: int32 [b, s]; attention stays inside a segment.
      positions_bs: int32 [b, s]; restart with each segment.

    Returns:
      fp32 [b, s, PADDED_VOCAB_SIZE]; entries at and above `vocab_size` hold a large negative number.
    """
    c = self.config
    embedding_vd = self.embedding[...].astype(c.dtype)
    # A product with one-hot rows: its gradient is a product too, where a gather's would be a serial scatter on TPUs.
    x_bsd = jax.nn.one_hot(tokens_bs, PADDED_VOCAB_SIZE, dtype=c.dtype) @ embedding_vd
    rotary = rotary_angles(positions_bs, c.head_dim, c.rope_theta)
    graph, layers = nnx.split(self.layers)

    def body(x_bsd, layer):
      return nnx.merge(graph, layer)(x_bsd, segment_ids_bs, rotary), None

    body = jax.checkpoint(body, policy=REMAT_POLICIES[c.remat], prevent_cse=False) if c.remat != "none" else body
    x_bsd, _ = jax.lax.scan(body, x_bsd, layers, unroll=c.unroll)
    x_bsd = rms_norm(x_bsd, self.final_norm[...], c.norm_eps)
    logits_bsv = jnp.einsum("bsd,vd->bsv", x_bsd, embedding_vd, preferred_element_type=jnp.float32)
    token_bsv = jax.lax.broadcasted_iota(jnp.int32, logits_bsv.shape, 2)
    return jnp.where(token_bsv < c.vocab_size, logits_bsv, MASKED)


def init_params(config: ModelConfig, seed: int) -> dict:
  """Fresh fp32 parameters as nested dicts: `embedding`, `final_norm`, and `layers` with a leading layer axis."""
  return nnx.to_pure_dict(nnx.state(Decoder(config, nnx.Rngs(params=seed)), nnx.Param))


def make_apply(config: ModelConfig):
  """`apply(params, tokens, segment_ids, positions) -> logits`, a pure function of the dicts of `init_params`."""
  graph, abstract = nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(params=0))), nnx.Param)

  def apply(params, tokens_bs, segment_ids_bs, positions_bs):
    state = jax.tree.unflatten(jax.tree.structure(abstract), jax.tree.leaves(params))
    return nnx.merge(graph, state)(tokens_bs, segment_ids_bs, positions_bs)

  return apply


def count_params(params) -> int:
  """Number of scalars in a tree of arrays."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))
