"""The BSM decoder: a Llama-layout Transformer in Flax NNX.

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
from jax.ad_checkpoint import checkpoint_name

from bsm_jax import kernels
from bsm_jax.kernels.reference import MASKED

# The embedding has one row for each lane of a TPU vector register; ids beyond the vocabulary never occur.
PADDED_VOCAB_SIZE = 128

# What the backward pass keeps of each layer: everything, what matrix products and attention made, or only its input.
REMAT_POLICIES = {
    "none": jax.checkpoint_policies.everything_saveable,
    "dots": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names(
            "projection", "attention_out", "attention_lse", "after_attention", "mlp_hidden"
        ),
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
    scan: layers as a loop over stacked parameters instead of one after the other: compiles in a fraction of the time,
      runs slower (95 ms a step instead of 80 in one static estimate for a v5e: what is kept for the backward pass is
      copied into and out of stacks).
    attention: "auto" or a name of `bsm_jax.kernels.ATTENTION`.
    blocks: "auto" or a name of `bsm_jax.kernels.BLOCKS`.
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
  scan: bool = False
  attention: str = "auto"
  blocks: str = "auto"

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


def layer_name(number: int) -> str:
  """Key of a layer among the parameters: two digits, so that keys sort as layers follow each other."""
  return f"{number:02d}"


def _normal(rngs: nnx.Rngs, shape: tuple[int, ...], scale: float) -> nnx.Param:
  return nnx.Param(scale * jax.random.normal(rngs.params(), shape, jnp.float32))


@dataclasses.dataclass(frozen=True)
class Kernels:
  """What computes a layer: attention (`kernels.Attention`) and its other parts (`kernels.choose_blocks`)."""

  attention: kernels.Attention
  blocks: kernels.Blocks


def choose_kernels(config: ModelConfig, device: jax.Device) -> Kernels:
  """The config's choices for one device of this kind. Raises ValueError for one that cannot run there."""
  attention = kernels.choose_attention(config.attention, config.head_dim, device)
  blocks = kernels.choose_blocks(config.blocks, config.norm_eps, device, feature_major=attention.feature_major)
  return Kernels(attention, blocks)


class Layer(nnx.Module):
  """Attention and SwiGLU, each behind an RMSNorm and added to the residual.

  The fused projection `qkv` orders its columns [head][query, key, value][head_dim]; `gate_up` holds gates, then values.
  """

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    d, width, f = config.d_model, config.n_heads * config.head_dim, config.d_ff
    residual_scale = 0.02 / (2 * config.n_layers) ** 0.5
    self.attention_norm = nnx.Param(jnp.ones(d))
    self.qkv = _normal(rngs, (d, 3 * width), 0.02)
    self.attention_out = _normal(rngs, (width, d), residual_scale)
    self.mlp_norm = nnx.Param(jnp.ones(d))
    self.gate_up = _normal(rngs, (d, 2 * f), 0.02)
    self.down = _normal(rngs, (f, d), residual_scale)

  def __call__(self, x_nd: jax.Array, segment_ids_bs: jax.Array, rotary_bks: jax.Array, ops: Kernels) -> jax.Array:
    x_nd, qkv = ops.blocks.norm_projection(x_nd, self.attention_norm[...], self.qkv[...])
    attended = ops.attention(qkv, segment_ids_bs, rotary_bks)
    form = "wn,wd->nd" if ops.attention.feature_major else "nw,wd->nd"
    x_nd = x_nd + kernels.product(form, attended, self.attention_out[...])
    # What the MLP's backward pass needs besides its hidden features.
    x_nd = checkpoint_name(x_nd, "after_attention")
    return ops.blocks.mlp(x_nd, self.mlp_norm[...], self.gate_up[...], self.down[...])


class Decoder(nnx.Module):
  """Next-token model over packed rows of tokens."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    """Args: the shape; a stream of keys named `params`."""
    self.config = config
    self.embedding = _normal(rngs, (PADDED_VOCAB_SIZE, config.d_model), 0.02)
    # Rows without a token: they get no gradient, so they stay zero, and nothing is lost where they are left out.
    self.embedding[...] = self.embedding[...].at[config.vocab_size :].set(0.0)
    self.layers = nnx.Dict({layer_name(number): Layer(config, rngs) for number in range(config.n_layers)})
    self.final_norm = nnx.Param(jnp.ones(config.d_model))

  def __call__(
      self, tokens_bs: jax.Array, segment_ids_bs: jax.Array, positions_bs: jax.Array, ops: Kernels
  ) -> jax.Array:
    """Logits of the next token at every position.

    Args:
      tokens_bs: ids, any integer dtype [b, s].
      segment_ids_bs: int32 [b, s]; attention stays inside a segment.
      positions_bs: int32 [b, s]; restart with each segment.
      ops: what computes the layers.

    Returns:
      fp32 [b, s, PADDED_VOCAB_SIZE]; entries at and above `vocab_size` hold a large negative number.
    """
    x_nd = self.features(tokens_bs, segment_ids_bs, positions_bs, ops)
    return self.logits(x_nd).reshape(*tokens_bs.shape, -1)

  def logits(self, x_nd: jax.Array) -> jax.Array:
    """fp32 [n, PADDED_VOCAB_SIZE] of what `features` returns."""
    logits_nv = kernels.product("nd,vd->nv", x_nd, self.embedding[...], jnp.float32)
    token_nv = jax.lax.broadcasted_iota(jnp.int32, logits_nv.shape, 1)
    return jnp.where(token_nv < self.config.vocab_size, logits_nv, MASKED)

  def features(
      self, tokens_bs: jax.Array, segment_ids_bs: jax.Array, positions_bs: jax.Array, ops: Kernels
  ) -> jax.Array:
    """What the logits are read from, [b * s, d]: the last layer's output, normed. Args: see `__call__`."""
    c = self.config
    # All matrix products are of two matrices, tokens by features: with a third axis XLA's CPU compiler transposes
    # operands of the weights' gradients, and an MLP's forward and backward take twice the time.
    # A product with one-hot rows: its gradient is a product too, where a gather's would be a serial scatter on TPUs.
    one_hot_nv = jax.nn.one_hot(tokens_bs.reshape(-1), PADDED_VOCAB_SIZE, dtype=c.dtype)
    x_nd = kernels.product("nv,vd->nd", one_hot_nv, self.embedding[...])
    rotary_bks = kernels.rotary_table(positions_bs, c.head_dim, c.rope_theta)
    graph, first = nnx.split(self.layers[layer_name(0)])
    states = [first, *(nnx.state(self.layers[layer_name(number)]) for number in range(1, c.n_layers))]

    def body(x_nd, layer):
      return nnx.merge(graph, layer)(x_nd, segment_ids_bs, rotary_bks, ops), None

    if c.remat != "none":
      body = jax.checkpoint(body, policy=REMAT_POLICIES[c.remat], prevent_cse=not c.scan)
    if c.scan:
      x_nd, _ = jax.lax.scan(body, x_nd, jax.tree.map(lambda *layers: jnp.stack(layers), *states))
    else:
      for state in states:
        x_nd, _ = body(x_nd, state)
    return kernels.rms_norm(x_nd, self.final_norm[...], c.norm_eps)


def init_params(config: ModelConfig, seed: int) -> dict:
  """Fresh fp32 parameters as nested dicts: `embedding`, `final_norm`, and `layers` by `layer_name`."""
  return nnx.to_pure_dict(nnx.state(Decoder(config, nnx.Rngs(params=seed)), nnx.Param))


def _as_function(config: ModelConfig, ops: Kernels | None, method: Callable):
  """A method of the decoder as a function of parameters and what it takes besides the kernels."""
  ops = ops or choose_kernels(config, jax.devices()[0])
  graph, abstract = nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(params=0))), nnx.Param)

  def apply(params, tokens_bs, segment_ids_bs, positions_bs):
    state = jax.tree.unflatten(jax.tree.structure(abstract), jax.tree.leaves(params))
    return method(nnx.merge(graph, state), tokens_bs, segment_ids_bs, positions_bs, ops)

  return apply


def make_apply(config: ModelConfig, ops: Kernels | None = None):
  """`apply(params, tokens, segment_ids, positions) -> logits`, a pure function of the dicts of `init_params`.

  Args:
    config: the shape.
    ops: what computes the layers; by default the config's choices for the first of JAX's devices, on one device.
  """
  return _as_function(config, ops, Decoder.__call__)


def make_features(config: ModelConfig, ops: Kernels | None = None):
  """`features(params, tokens, segment_ids, positions)`, likewise, for `Decoder.features`."""
  return _as_function(config, ops, Decoder.features)


def count_params(params) -> int:
  """Number of scalars in a tree of arrays."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))
