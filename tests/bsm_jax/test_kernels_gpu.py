"""The GPU's attention as far as a CPU can prove it: run in interpret mode, and lowered for CUDA."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, use_abstract_mesh

from bsm_jax.kernels import documents, gpu, gpu_cudnn, reference

SMALL = gpu.Tile(rows=64, step=32, warps=4, stages=2)
SMALL_BLOCKS = gpu.Blocks(SMALL, SMALL, SMALL)
NAMES = ("out", "dq", "dk", "dv")
small_attention = functools.partial(gpu.attention, blocks=SMALL_BLOCKS, interpret=True)
default_attention = functools.partial(gpu.attention, interpret=True)


def random_inputs(shape, *, dtype=jnp.bfloat16, size=1.0, seed=0):
  """q, k, v and a cotangent; `size` multiplies q and k."""
  rng = np.random.default_rng(seed)
  return [jnp.asarray(scale * rng.normal(size=shape), dtype) for scale in (size, size, 1, 1)]


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(attention, q, k, v, dout, segment_ids):
  out, vjp = jax.vjp(lambda *qkv: attention(*qkv, segment_ids), q, k, v)
  return dict(zip(NAMES, (out, *vjp(dout))))


def relative_error(got, expected):
  got, expected = (np.asarray(x, np.float64) for x in (got, expected))
  return np.linalg.norm(got - expected) / np.linalg.norm(expected)


def check_against_reference(attention, batches, allowed_ratio=1.5):
  """Each gradient's relative L2 error is within `allowed_ratio` of the reference's in the dtype of the inputs."""
  results = []
  for segment_ids, inputs in batches:
    exact = value_and_gradients(reference.attention, *(x.astype(jnp.float32) for x in inputs), segment_ids)
    rounded = value_and_gradients(reference.attention, *inputs, segment_ids)
    ours = value_and_gradients(attention, *inputs, segment_ids)
    assert all(x.dtype == inputs[0].dtype and jnp.isfinite(x).all() for x in ours.values())
    results.append((exact, rounded, ours))
  for name in NAMES:
    exact, rounded, ours = (np.stack([np.asarray(r[name], np.float32) for r in column]) for column in zip(*results))
    error, allowed = relative_error(ours, exact), allowed_ratio * relative_error(rounded, exact)
    assert error <= allowed, f"{name}: relative error {error:.2e}, allowed {allowed:.2e}"


def packed(length, *lengths):
  """Segment ids of one row that holds documents of these lengths; the rest is padding."""
  ids = np.repeat(np.arange(1, len(lengths) + 1), lengths)
  return np.pad(ids, (0, length - len(ids)))


def ids(*rows):
  return jnp.asarray(np.stack(rows), jnp.int32)


def rows_of(length):
  return {
      "packed": ids(packed(length, 5, 70, 100, 1, 20), packed(length, 64, 128, length - 192)),
      "one document": ids(packed(length, length), packed(length, length)),
      "padding": ids(packed(length, 40, 50), packed(length)),
  }


ROWS = rows_of(256)


@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize("rows", ROWS)
def test_values_and_gradients_are_as_exact_as_the_bf16_reference(rows, head_dim):
  check_against_reference(small_attention, [(ROWS[rows], random_inputs((2, 256, 2, head_dim)))])


@pytest.mark.parametrize("rows", ROWS)
def test_neither_head_nor_sequence_need_fill_a_tile(rows):
  check_against_reference(small_attention, [(rows_of(200)[rows], random_inputs((2, 200, 2, 56)))])


@pytest.mark.parametrize("rows", ["packed", "one document"])
def test_scores_of_ten_thousand_keep_values_and_gradients_exact(rows):
  # Nearly every weight is 0 or 1, few rows have a gradient at all: several batches together make the error a mean.
  batches = [(ROWS[rows], random_inputs((2, 256, 2, 64), size=50.0, seed=seed)) for seed in range(6)]
  q, k = (np.asarray(x, np.float32) for x in batches[0][1][:2])
  assert np.abs(np.einsum("bqhd,bkhd->bhqk", q, k)).max() / 8 > 1e4
  check_against_reference(small_attention, batches)


def test_moderately_peaked_weights_keep_gradients_exact():
  # out * dout as the mean of the weights' gradients is 1.7 times the reference's error here, and 3.3 times at size 10.
  check_against_reference(small_attention, [(ROWS["packed"], random_inputs((2, 256, 2, 64), size=3.0))], 1.2)


def test_tokens_that_are_documents_return_their_own_value():
  q, k, v, dout = random_inputs((1, 1024, 1, 64))
  got = value_and_gradients(default_attention, q, k, v, dout, jnp.arange(1, 1025)[None])
  np.testing.assert_array_equal(got["out"], v)
  np.testing.assert_array_equal(got["dv"], dout)
  for name in ("dq", "dk"):
    np.testing.assert_allclose(np.asarray(got[name], np.float32), 0, atol=1e-5)


def test_fp32_matches_the_reference():
  inputs, rows = random_inputs((1, 64, 1, 16), dtype=jnp.float32), ids(packed(64, 30, 3, 20))
  exact = value_and_gradients(reference.attention, *inputs, rows)
  for name, got in value_and_gradients(default_attention, *inputs, rows).items():
    assert got.dtype == jnp.float32
    assert relative_error(got, exact[name]) < 2e-6


def test_no_product_rounds_fp32_operands():
  q, k, v, dout = random_inputs((1, 64, 1, 16), dtype=jnp.float32)
  jaxpr = str(jax.make_jaxpr(functools.partial(value_and_gradients, gpu.attention))(q, k, v, dout, ids(packed(64, 64))))
  # 2 products in the forward, 4 for dq, 4 for dk and dv; each in a loop with masks and in one without.
  assert jaxpr.count("dot_general[") == jaxpr.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == 20


def test_a_block_of_another_document_is_never_touched():
  rows, inside = ids(packed(256, 64, 128, 64), packed(256, 30, 34, 128, 64)), slice(64, 192)
  inputs = random_inputs((2, 256, 2, 64))
  poisoned = [x.at[:, inside].set(jnp.nan) for x in inputs]
  clean, got = (value_and_gradients(small_attention, *x, rows) for x in (inputs, poisoned))
  for name in NAMES:
    outside = lambda x: np.delete(np.asarray(x, np.float32), np.r_[inside], axis=1)
    np.testing.assert_array_equal(outside(got[name]), outside(clean[name]))
    assert np.isnan(np.asarray(got[name][:, inside], np.float32)).all()


def test_documents_are_runs_of_one_id():
  ids = jnp.asarray([[3, 3, 4, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
  starts, ends = documents.first_tokens(ids), documents.last_tokens(ids)
  np.testing.assert_array_equal(starts, [[0, 0, 2, 3, 3, 3], [0, 0, 0, 0, 0, 0]])
  np.testing.assert_array_equal(ends, [[1, 1, 2, 5, 5, 5], [5, 5, 5, 5, 5, 5]])


# What the code is lowered for: jax 0.11 asks, as this machine has no GPU of its own.
H100 = AbstractDevice(device_kind="NVIDIA H100 80GB HBM3", num_cores=None, platform="gpu")


def lower_for_cuda(attention, shape, dtype=jnp.bfloat16):
  """The StableHLO of values and gradients, for a machine with an H100."""
  x, rows = jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct(shape[:2], jnp.int32)
  with use_abstract_mesh(AbstractMesh((1,), ("data",), (AxisType.Auto,), abstract_device=H100)):
    traced = jax.jit(value_and_gradients, static_argnums=0).trace(attention, x, x, x, x, rows)
    return traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("head_dim", [56, 64, 128])
@pytest.mark.parametrize("length", [1024, 1000])
def test_the_kernels_lower_to_triton_for_cuda(length, head_dim):
  text = lower_for_cuda(gpu.attention, (2, length, 4, head_dim))
  assert text.count("stablehlo.custom_call") == text.count("triton") == 3
  for kernel in ("attention_forward", "attention_dq", "attention_dkv"):
    assert f'name = "{kernel}"' in text


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32])
def test_other_dtypes_lower_to_triton_for_cuda(dtype):
  assert lower_for_cuda(gpu.attention, (2, 1024, 4, 56), dtype).count("triton") == 3


def live_kernels(jaxpr):
  """Names of the Pallas kernels whose results are used; XLA drops the others."""
  used = {id(v) for eqn in jaxpr.eqns for v in eqn.invars} | {id(v) for v in jaxpr.outvars}
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == "pallas_call":
      yield from [eqn.params["name"]] if any(id(v) in used for v in eqn.outvars) else []
    else:
      inner = [getattr(p, "jaxpr", p) for p in eqn.params.values()]
      yield from (name for p in inner if hasattr(p, "eqns") for name in live_kernels(p))


def test_remat_that_keeps_the_residuals_does_not_run_the_forward_again():
  inputs, rows = random_inputs((1, 64, 1, 16)), ids(packed(64, 64))

  def count_forwards(policy):
    attention = jax.checkpoint(gpu.attention, policy=policy)
    jaxpr = jax.make_jaxpr(functools.partial(value_and_gradients, attention))(*inputs, rows).jaxpr
    return list(live_kernels(jaxpr)).count("attention_forward")

  assert count_forwards(jax.checkpoint_policies.nothing_saveable) == 2
  assert count_forwards(jax.checkpoint_policies.save_only_these_names(*gpu.RESIDUAL_NAMES)) == 1


@pytest.mark.parametrize("capability, generation", [("8.0", 8), ("8.9", 8), ("9.0", 9), ("10.0", 9), ("12.0", 8)])
def test_tiles_follow_the_gpus_generation(monkeypatch, capability, generation):
  device = types.SimpleNamespace(platform="gpu", compute_capability=capability)
  monkeypatch.setattr(jax, "devices", lambda: [device])
  assert gpu.default_blocks(56, jnp.bfloat16) == gpu.BLOCKS[generation, 64]
  assert gpu.default_blocks(128, jnp.float16) == gpu.BLOCKS[generation, 128]


def test_wrong_arguments_are_named():
  q, k, v, _ = random_inputs((1, 64, 2, 16))
  rows = ids(packed(64, 64))
  with pytest.raises(ValueError, match=r"one shape and dtype, not bfloat16\[1, 64, 2, 16\], float32"):
    gpu.attention(q, k.astype(jnp.float32), v, rows)
  with pytest.raises(ValueError, match=r"segment ids must be \(1, 64\)"):
    gpu.attention(q, k, v, rows[:, :32])
  with pytest.raises(ValueError, match="not int32: cast"):
    gpu.attention(*(x.astype(jnp.int32) for x in (q, k, v)), rows)
  with pytest.raises(ValueError, match="at most 128, not 256"):
    gpu.attention(*(jnp.zeros((1, 64, 2, 256), jnp.bfloat16) for _ in range(3)), rows)
  with pytest.raises(ValueError, match="powers of two"):
    gpu.Tile(rows=96, step=32, warps=4, stages=2)


def test_cudnn_is_asked_for_the_same_attention(monkeypatch):
  in_jax = jax.nn.dot_product_attention
  asked = []

  def plainly(*args, implementation, **kwargs):
    asked.append(implementation)
    return in_jax(*args, implementation="xla", **kwargs)

  monkeypatch.setattr(jax.nn, "dot_product_attention", plainly)
  check_against_reference(gpu_cudnn.attention, [(ROWS["packed"], random_inputs((2, 256, 2, 56)))])
  assert set(asked) == {"cudnn"}


@pytest.mark.parametrize("head_dim", [56, 64, 128])
def test_cudnn_lowers_for_cuda(monkeypatch, head_dim):
  # JAX asks for the version of the cuDNN on this machine, which has none.
  monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)
  text = lower_for_cuda(gpu_cudnn.attention, (2, 1024, 4, head_dim))
  assert "__cudnn$fmhaScaleBiasSoftmax(" in text and "__cudnn$fmhaScaleBiasSoftmaxBackward(" in text


def test_cudnn_refuses_fp32():
  q, k, v, _ = random_inputs((1, 64, 2, 16), dtype=jnp.float32)
  with pytest.raises(ValueError, match="not float32: cast, or use kernels.gpu"):
    gpu_cudnn.attention(q, k, v, ids(packed(64, 64)))
