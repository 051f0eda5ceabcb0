"""The BSM decoder: a Llama-layout Transformer in Flax NNX, its layers stacked and scanned.

Paper: Xiang, Han, Chai, Bai, "BSM: Small but Powerful Biological Sequence Model for Genes and Proteins",
arXiv 2410.11499. RMSNorm, half-split rotary positions (base 100,000), SwiGLU, no biases, tied embedding.

Array names carry their shape: b batch, s sequence, n all tokens of the batch, d d_model, w heads * head_dim, f d_ff,
v padded vocabulary.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from bsm_jax import kernels
from bsm_jax.kernels.reference import MASKED

# The embedding has one row for each lane of a TPU vector register; ids beyond the vocabulary never occur.
PADDED_VOCAB_SIZE = 128

# What the backward pass keeps of each layer: everything, what matrix products and attention made, or only its input.
REMAT_POLICIES = {
    "none": jax.checkpoint_policies.everything_saveable,
    "dots": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names("attention_out", "attention_lse"),
    ),
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
    attention: "auto" or a name of `bsm_jax.kernels.IMPLEMENTATIONS`.
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


def _normal(rngs: nnx.Rngs, shape: tuple[int, ...], scale: float) -> nnx.Param:
  return nnx.Param(scale * jax.random.normal(rngs.params(), shape, jnp.float32))


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

  def __call__(self, x_nd: jax.Array, attend: Callable, feature_major: bool) -> jax.Array:
    """Args: tokens; attention over their fused queries, keys and values, and whether it takes features first."""
    c = self.config
    weight = lambda param: param[...].astype(x_nd.dtype)
    y_nd = rms_norm(x_nd, self.attention_norm[...], c.norm_eps)
    if feature_major:
      attended_wn = attend(jnp.einsum("nd,dw->wn", y_nd, weight(self.qkv)))
      x_nd = x_nd + jnp.einsum("wn,wd->nd", attended_wn, weight(self.attention_out))
    else:
      x_nd = x_nd + attend(y_nd @ weight(self.qkv)) @ weight(self.attention_out)

    y_nd = rms_norm(x_nd, self.mlp_norm[...], c.norm_eps)
    gate_nf, up_nf = jnp.split(y_nd @ weight(self.gate_up), 2, axis=-1)
    return x_nd + (jax.nn.silu(gate_nf) * up_nf) @ weight(self.down)


class Decoder(nnx.Module):
  """Next-token model over packed rows of tokens."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    """Args: the shape; a stream of keys named `params`."""
    self.config = config
    self.embedding = _normal(rngs, (PADDED_VOCAB_SIZE, config.d_model), 0.02)
    self.final_norm = nnx.Param(jnp.ones(config.d_model))

    @nnx.split_rngs(splits=config.n_layers)
    @nnx.vmap(in_axes=0, out_axes=0)
    def stack(layer_rngs: nnx.Rngs) -> Layer:
      return Layer(config, layer_rngs)

    self.layers = stack(rngs)

  def __call__(
      self, tokens_bs: jax.Array, segment_ids_bs: jax.Array, positions_bs: jax.Array, attention: kernels.Attention
  ) -> jax.Array:
    """Logits of the next token at every position.

    Args:
      tokens_bs: ids, any integer dtype [b, s].
      segment_ids_bs: int32 [b, s]; attention stays inside a segment.
      positions_bs: int32 [b, s]; restart with each segment.
      attention: its implementation.

    Returns:
      fp32 [b, s, PADDED_VOCAB_SIZE]; entries at and above `vocab_size` hold a large negative number.
    """
    c = self.config
    embedding_vd = self.embedding[...].astype(c.dtype)
    # All matrix products are of two matrices, tokens by features: with a third axis XLA's CPU compiler transposes
    # operands of the weights' gradients, and an MLP's forward and backward take twice the time.
    # A product with one-hot rows: its gradient is a product too, where a gather's would be a serial scatter on TPUs.
    x_nd = jax.nn.one_hot(tokens_bs.reshape(-1), PADDED_VOCAB_SIZE, dtype=c.dtype) @ embedding_vd
    rotary = kernels.rotary_table(positions_bs, c.head_dim, c.rope_theta)
    attend = lambda qkv: attention(qkv, segment_ids_bs, rotary)
    graph, layers = nnx.split(self.layers)

    def body(x_nd, layer):
      return nnx.merge(graph, layer)(x_nd, attend, attention.feature_major), None

    body = jax.checkpoint(body, policy=REMAT_POLICIES[c.remat], prevent_cse=False) if c.remat != "none" else body
    x_nd, _ = jax.lax.scan(body, x_nd, layers, unroll=c.unroll)
    x_nd = rms_norm(x_nd, self.final_norm[...], c.norm_eps)
    logits_nv = jnp.einsum("nd,vd->nv", x_nd, embedding_vd, preferred_element_type=jnp.float32)
    token_nv = jax.lax.broadcasted_iota(jnp.int32, logits_nv.shape, 1)
    return jnp.where(token_nv < c.vocab_size, logits_nv, MASKED).reshape(*tokens_bs.shape, -1)


def init_params(config: ModelConfig, seed: int) -> dict:
  """Fresh fp32 parameters as nested dicts: `embedding`, `final_norm`, and `layers` with a leading layer axis."""
  return nnx.to_pure_dict(nnx.state(Decoder(config, nnx.Rngs(params=seed)), nnx.Param))


def make_apply(config: ModelConfig, attention: kernels.Attention | None = None):
  """`apply(params, tokens, segment_ids, positions) -> logits`, a pure function of the dicts of `init_params`.

  Args:
    config: the shape.
    attention: by default `config.attention` for the first of JAX's devices, on one device.
  """
  attention = attention or kernels.choose(config.attention, config.head_dim, jax.devices()[0])
  graph, abstract = nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(params=0))), nnx.Param)

  def apply(params, tokens_bs, segment_ids_bs, positions_bs):
    state = jax.tree.unflatten(jax.tree.structure(abstract), jax.tree.leaves(params))
    return nnx.merge(graph, state)(tokens_bs, segment_ids_bs, positions_bs, attention)

  return apply


def count_params(params) -> int:
  """Number of scalars in a tree of arrays."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))
