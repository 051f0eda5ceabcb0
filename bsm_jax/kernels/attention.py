"""The one entry to attention: choosing an implementation, and what all of them compute.

Causal self-attention inside documents: token i attends to j <= i with `segment_ids[i] == segment_ids[j]`; queries and
keys are rotated to their positions (`bsm_jax.kernels.rotary`); scores are scaled by `head_dim ** -0.5`.

The fused projection orders its features [head][query, key, value][head_dim], so that any split of the heads over
devices is a contiguous one.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from bsm_jax.kernels import cpu, gpu, gpu_cudnn, reference, rotary, tpu


def split_heads(qkv_nw: jax.Array, batch: int, head_dim: int) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Queries, keys and values [batch, sequence, heads, head_dim] of the fused projection [tokens, features]."""
  # A split's gradient is one concatenation, where three slices' would be padded and added.
  parts = jnp.split(qkv_nw.reshape(batch, len(qkv_nw) // batch, -1, 3, head_dim), 3, axis=3)
  q_bshk, k_bshk, v_bshk = (part.squeeze(3) for part in parts)
  return q_bshk, k_bshk, v_bshk


def _token_major(attention: Callable) -> Callable:
  """Gives a function of q, k, v [batch, sequence, heads, head_dim] the signature of `Attention.__call__`."""

  def attend(qkv_nw, segment_ids_bs, rotary_bks, *, head_dim):
    batch, length = segment_ids_bs.shape
    q_bshk, k_bshk, v_bshk = split_heads(qkv_nw, batch, head_dim)
    rotate = lambda x_bshk: rotary.rotate(x_bshk, rotary_bks)
    out_bshk = attention(rotate(q_bshk), rotate(k_bshk), v_bshk, segment_ids_bs)
    return out_bshk.reshape(batch * length, -1)

  return attend


@dataclasses.dataclass(frozen=True)
class Attention:
  """An implementation, chosen for a kind of device.

  Attributes:
    name: of the implementation.
    feature_major: arrays are [features, tokens], else [tokens, features].
    run: the function behind `__call__`.
  """

  name: str
  feature_major: bool
  run: Callable

  def __call__(self, qkv: jax.Array, segment_ids_bs: jax.Array, rotary_bks: jax.Array) -> jax.Array:
    """Attention over packed sequences, differentiable with respect to `qkv`.

    Args:
      qkv: [heads * 3 * head_dim, batch * sequence] if `feature_major`, else its transpose; features as the module says.
      segment_ids_bs: int32 [batch, sequence]; equal ids are contiguous (`bsm_jax.input.segments`).
      rotary_bks: fp32 [batch, 2 * head_dim, sequence] (`rotary_table`).

    Returns:
      [heads * head_dim, batch * sequence] if `feature_major`, else its transpose; of qkv's dtype.
    """
    return self.run(qkv, segment_ids_bs, rotary_bks)


# Name to (platform it needs or None, feature-major, function; those of feature-major ones also take `device_kind`).
_IMPLEMENTATIONS = {
    "reference": (None, False, _token_major(reference.attention)),
    "tpu": ("tpu", True, tpu.attention),
    "tpu_interpret": (None, True, functools.partial(tpu.attention, interpret=True)),
    "gpu": ("gpu", False, _token_major(gpu.attention)),
    "gpu_interpret": (None, False, _token_major(functools.partial(gpu.attention, interpret=True))),
    "cudnn": ("gpu", False, _token_major(gpu_cudnn.attention)),
    "cpu": ("cpu", False, _token_major(cpu.attention)),
}
_AUTO = {"tpu": "tpu", "gpu": "gpu", "cpu": "cpu"}
ATTENTION = tuple(_IMPLEMENTATIONS)


def choose_attention(implementation: str, head_dim: int, device: jax.Device) -> Attention:
  """The implementation of that name for such a device.

  Args:
    implementation: one of `ATTENTION`, or "auto": the fastest of the device's platform. The `_interpret` ones run
      a kernel in Pallas' interpreter, on any platform and slowly.
    head_dim: of queries, keys and values.
    device: where it will run; one of a topology that is not there will do.

  Raises:
    ValueError: an unknown name, or one that the platform cannot run.
  """
  name = _AUTO.get(device.platform, "reference") if implementation == "auto" else implementation
  if name not in _IMPLEMENTATIONS:
    raise ValueError(f"unknown attention implementation {name!r}: use 'auto' or one of {sorted(ATTENTION)}")
  platform, feature_major, run = _IMPLEMENTATIONS[name]
  if platform not in (None, device.platform):
    raise ValueError(f"attention {name!r} needs a {platform}, not a {device.platform}: use 'auto'")
  settings = {"device_kind": device.device_kind} if feature_major else {}
  return Attention(name, feature_major, functools.partial(run, head_dim=head_dim, **settings))
