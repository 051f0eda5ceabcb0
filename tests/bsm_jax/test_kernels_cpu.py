"""The CPU path: values and gradients against the reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bsm_jax.kernels import cpu, reference
from tests.bsm_jax.test_kernels_tpu import documents, relative_errors


def value_and_gradients(attend, arrays, ids, dtype) -> dict[str, np.ndarray]:
  """Output and gradients, in fp32, of q, k and v in `dtype`."""
  cotangent = jax.random.normal(jax.random.key(9), arrays[0].shape)
  out, pullback = jax.vjp(lambda *x: attend(*x, ids), *(x.astype(dtype) for x in arrays))
  found = [out, *pullback(cotangent.astype(dtype))]
  return {name: np.asarray(x, np.float32) for name, x in zip(("out", "dq", "dk", "dv"), found)}


def errors(ids: np.ndarray, dtype, *, heads: int = 2, head_dim: int = 32, scale: float = 1.0):
  """Of the CPU path and of the reference in `dtype`, both against the reference in fp32."""
  shape = (*ids.shape, heads, head_dim)
  arrays = [(scale * jax.random.normal(key, shape)).astype(dtype) for key in jax.random.split(jax.random.key(0), 3)]
  exact = value_and_gradients(reference.attention, arrays, jnp.asarray(ids), jnp.float32)
  ours, plain = (value_and_gradients(f, arrays, jnp.asarray(ids), dtype) for f in (cpu.attention, reference.attention))
  return relative_errors(ours, exact), relative_errors(plain, exact)


@pytest.mark.parametrize("head_dim", [16, 32, 56, 64, 128])
def test_packed_documents_and_a_padding_tail(head_dim):
  ours, _ = errors(documents(300, 40, padding=37), jnp.float32, head_dim=head_dim)
  assert max(ours.values()) < 1e-5


@pytest.mark.parametrize("length", [2, 100, 256, 520])
def test_one_document_of_any_length(length):
  ours, _ = errors(np.ones((2, length), np.int32), jnp.float32)
  assert max(ours.values()) < 1e-5


def test_documents_of_one_token_return_their_value():
  ids = 1 + np.arange(256, dtype=np.int32)[None]
  q, k, v = jax.random.normal(jax.random.key(0), (3, 1, 256, 2, 32))
  np.testing.assert_array_equal(cpu.attention(q, k, v, jnp.asarray(ids)), v)


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_bf16_errs_no_more_than_one_and_a_half_times_the_reference(scale):
  ours, plain = errors(documents(300, 90), jnp.bfloat16, scale=scale)
  assert all(ours[name] <= 1.5 * plain[name] for name in ours), (ours, plain)


def test_large_scores_stay_finite():
  ours, _ = errors(documents(200, 60), jnp.float32, scale=40.0)
  assert max(ours.values()) < 1e-3
