"""The decoder one token at a time: keys and values of what came before are kept, not computed again.

All rows of a batch write to the same slot of the cache, whatever the length of their prompts: slots 0 to p - 1 hold the
prompts, with unused ones behind the shorter of them, and the following slots what is generated. Positions are each
row's own; keys are kept rotated to them.

Shapes: b batch, p slots of prompts, t all slots, h heads, k head dimension, w heads * head_dim, v padded vocabulary.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from bsm_jax import kernels
from bsm_jax import model as model_lib
from bsm_jax.input import segments
from bsm_jax.kernels import rotary
from bsm_jax.kernels.reference import MASKED

# Keys and values of each layer, [b, h, t, k].
Cache = list[tuple[jax.Array, jax.Array]]


@dataclasses.dataclass
class _Keeping:
  """Attention over whole prompts that keeps what each layer's later tokens will look at."""

  attention: kernels.Attention
  head_dim: int
  kept: Cache = dataclasses.field(default_factory=list)
  feature_major = False

  def __call__(self, qkv_nw, segment_ids_bs, rotary_bks):
    _, k_bphk, v_bphk = kernels.split_heads(qkv_nw, len(segment_ids_bs), self.head_dim)
    self.kept.append((rotary.rotate(k_bphk, rotary_bks).swapaxes(1, 2), v_bphk.swapaxes(1, 2)))
    return self.attention(qkv_nw, segment_ids_bs, rotary_bks)


@dataclasses.dataclass
class _Looking:
  """Attention of one token of each row over the cache, which it enters at `slot`."""

  cache: Cache
  slot: jax.Array
  seen_bt: jax.Array
  head_dim: int
  kept: Cache = dataclasses.field(default_factory=list)
  feature_major = False

  def __call__(self, qkv_bw, segment_ids_b1, rotary_bk1):
    q_b1hk, k_b1hk, v_b1hk = kernels.split_heads(qkv_bw, len(segment_ids_b1), self.head_dim)
    q_b1hk, k_b1hk = (rotary.rotate(x_b1hk, rotary_bk1) for x_b1hk in (q_b1hk, k_b1hk))
    k_bhtk, v_bhtk = (
        jax.lax.dynamic_update_slice(x_bhtk, x_b1hk.swapaxes(1, 2), (0, 0, self.slot, 0))
        for x_bhtk, x_b1hk in zip(self.cache[len(self.kept)], (k_b1hk, v_b1hk))
    )
    self.kept.append((k_bhtk, v_bhtk))
    scores_bht = jnp.einsum("bhk,bhtk->bht", q_b1hk[:, 0], k_bhtk, preferred_element_type=jnp.float32)
    scores_bht = jnp.where(self.seen_bt[:, None], scores_bht * self.head_dim**-0.5, MASKED)
    weights_bht = jax.nn.softmax(scores_bht, axis=-1).astype(v_bhtk.dtype)
    return jnp.einsum("bht,bhtk->bhk", weights_bht, v_bhtk).reshape(len(qkv_bw), -1)


class CachedDecoder:
  """A decoder's two ways to logits: of whole prompts, and of one more token."""

  def __init__(self, config: model_lib.ModelConfig, attention: kernels.Attention):
    """Args: the shape, without `scan` and `remat`; what runs over prompts, token-major."""
    self._config, self._attention = config, attention
    self._blocks = kernels.XlaBlocks(config.norm_eps, feature_major=False)
    self._graph, self._abstract = nnx.split(
        nnx.eval_shape(lambda: model_lib.Decoder(config, nnx.Rngs(params=0))), nnx.Param
    )

  def _decoder(self, params) -> model_lib.Decoder:
    return nnx.merge(self._graph, jax.tree.unflatten(jax.tree.structure(self._abstract), jax.tree.leaves(params)))

  def begin(self, params, tokens_bp: jax.Array, lengths_b: jax.Array, slots: int) -> tuple[jax.Array, Cache]:
    """Runs prompts.

    Args:
      params: as of `init_params`.
      tokens_bp: one prompt a row, from its `<bos>` on, padding behind it.
      lengths_b: int32, tokens of each.
      slots: of the cache, p and as many as will be generated.

    Returns:
      fp32 [b, v], logits of the token behind each prompt, and the cache.
    """
    attention = _Keeping(self._attention, self._config.head_dim)
    decoder = self._decoder(params)
    ops = model_lib.Kernels(attention, self._blocks)
    x_nd = decoder.features(tokens_bp, segments.segment_ids(tokens_bp), segments.positions(tokens_bp), ops)
    x_bpd = x_nd.reshape(*tokens_bp.shape, -1)
    last_bd = jnp.take_along_axis(x_bpd, (lengths_b - 1)[:, None, None], axis=1)[:, 0]
    more = slots - tokens_bp.shape[1]
    widen = lambda x_bhpk: jnp.pad(x_bhpk, ((0, 0), (0, 0), (0, more), (0, 0)))
    return decoder.logits(last_bd), [(widen(k), widen(v)) for k, v in attention.kept]

  def go_on(
      self, params, tokens_b: jax.Array, lengths_b: jax.Array, prompts: int, number: jax.Array, cache: Cache
  ) -> tuple[jax.Array, Cache]:
    """Runs one more token of each row.

    Args:
      params: as of `init_params`.
      tokens_b: the tokens.
      lengths_b: int32, tokens of each row's prompt.
      prompts: how many slots hold prompts.
      number: int32 [], how many tokens were run since the prompts.
      cache: as this or `begin` returned it.

    Returns:
      fp32 [b, v], logits of the token behind, and the cache.
    """
    slot_1t = jnp.arange(cache[0][0].shape[2])[None]
    slot = prompts + number
    seen_bt = (slot_1t < lengths_b[:, None]) | ((slot_1t >= prompts) & (slot_1t <= slot))
    attention = _Looking(cache, slot, seen_bt, self._config.head_dim)
    ops = model_lib.Kernels(attention, self._blocks)
    tokens_b1 = tokens_b[:, None]
    x_bd = self._decoder(params).features(tokens_b1, jnp.ones_like(tokens_b1), (lengths_b + number)[:, None], ops)
    return self._decoder(params).logits(x_bd), attention.kept
