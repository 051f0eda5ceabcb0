"""The parts of a layer around attention: fused TPU kernels against plain operations, and the precision of both."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, PartitionSpec

from bsm_jax import kernels, sharding, topology
from bsm_jax.kernels.tpu_blocks import TpuBlocks

EPS = 1e-5
TOKENS, D_MODEL, D_FF, WIDTH = 512, 128, 384, 640


def arguments(part: str, dtype) -> tuple[tuple, tuple]:
  """Inputs, and cotangents of the outputs."""
  keys = iter(jax.random.split(jax.random.key(0), 8))
  normal = lambda *shape, dtype=jnp.float32: jax.random.normal(next(keys), shape).astype(dtype)
  x, scale = normal(TOKENS, D_MODEL, dtype=dtype), 1 + 0.3 * normal(D_MODEL)
  if part == "norm_projection":
    return (x, scale, 0.1 * normal(D_MODEL, WIDTH)), (normal(TOKENS, D_MODEL, dtype=dtype), normal(WIDTH, TOKENS))
  inputs = x, scale, 0.1 * normal(D_MODEL, 2 * D_FF), 0.1 * normal(D_FF, D_MODEL)
  return inputs, (normal(TOKENS, D_MODEL, dtype=dtype),)


def values_and_gradients(blocks, part: str, inputs, cotangents):
  @jax.jit
  def run(inputs):
    out, pullback = jax.vjp(getattr(blocks, part), *inputs)
    outs = out if isinstance(out, tuple) else (out,)
    rounded = tuple(c.astype(o.dtype) for c, o in zip(cotangents, outs))
    return outs, pullback(rounded if isinstance(out, tuple) else rounded[0])

  return jax.tree.leaves(run(inputs))


def errors(found, expected) -> list[float]:
  norm = lambda x: np.linalg.norm(np.asarray(x, np.float32))
  return [norm(np.asarray(f, np.float32) - np.asarray(e, np.float32)) / norm(e) for f, e in zip(found, expected)]


@pytest.mark.parametrize("part", ["norm_projection", "mlp"])
def test_kernels_equal_plain_operations_in_fp32(part):
  inputs, cotangents = arguments(part, jnp.float32)
  plain = values_and_gradients(kernels.XlaBlocks(EPS, feature_major=True), part, inputs, cotangents)
  fused = values_and_gradients(TpuBlocks(EPS, interpret=True), part, inputs, cotangents)
  assert max(errors(fused, plain)) < 1e-6


@pytest.mark.parametrize("part", ["norm_projection", "mlp"])
def test_kernels_in_bf16_err_no_more_than_plain_operations_in_bf16(part):
  inputs, cotangents = arguments(part, jnp.bfloat16)
  in_fp32 = (inputs[0].astype(jnp.float32), *inputs[1:])
  exact = values_and_gradients(kernels.XlaBlocks(EPS, feature_major=True), part, in_fp32, cotangents)
  plain = values_and_gradients(kernels.XlaBlocks(EPS, feature_major=True), part, inputs, cotangents)
  fused = values_and_gradients(TpuBlocks(EPS, interpret=True), part, inputs, cotangents)
  for error, allowed in zip(errors(fused, exact), errors(plain, exact)):
    assert error <= 1.2 * allowed + 1e-6


def test_devices_sum_gradients_of_weights_over_their_own_tokens():
  mesh = sharding.make_mesh((4, 2, 1))
  for part in ("norm_projection", "mlp"):
    inputs, cotangents = arguments(part, jnp.float32)
    # Each device needs whole tiles: eight times the tokens.
    tile = lambda x: jnp.concatenate([x] * 8, axis=x.shape.index(TOKENS)) if TOKENS in x.shape else x
    inputs, cotangents = jax.tree.map(tile, (inputs, cotangents))
    one = values_and_gradients(TpuBlocks(EPS, interpret=True), part, inputs, cotangents)
    spread = TpuBlocks(EPS, sharding.over_tokens(mesh), interpret=True)
    assert max(errors(values_and_gradients(spread, part, inputs, cotangents), one)) < 1e-6


def test_tokens_that_are_no_whole_tiles_are_refused():
  with pytest.raises(ValueError, match="100 tokens a device are no multiple of .*model.blocks='xla'"):
    TpuBlocks(EPS, interpret=True).mlp(jnp.ones((100, 128)), jnp.ones(128), jnp.ones((128, 512)), jnp.ones((256, 128)))


def test_gradients_of_weights_are_never_rounded_to_the_activations_dtype():
  x, weight = jnp.ones((4096, 8), jnp.bfloat16), jnp.ones((8, 8))
  # 4096 ones and a 1: bf16 would lose the last one.
  x = x.at[0, 0].set(2.0)
  gradient = jax.grad(lambda w: kernels.product("nd,dw->nw", x, w, jnp.float32).sum())(weight)
  assert gradient.dtype == jnp.float32
  assert float(gradient[0, 0]) == 4097.0


@pytest.mark.parametrize("form", ["nd,dw->nw", "nd,dw->wn", "wn,wd->nd", "nd,vd->nv"])
def test_products_have_the_gradients_of_einsum(form):
  operands, _ = form.split("->")
  size = {"n": 6, "d": 4, "w": 5, "v": 3}
  keys = jax.random.split(jax.random.key(0))
  x, weight = (jax.random.normal(k, [size[c] for c in part]) for k, part in zip(keys, operands.split(",")))
  loss = lambda f: lambda x, w: jnp.sin(f(x, w)).sum()
  ours = jax.grad(loss(functools.partial(kernels.product, form)), (0, 1))(x, weight)
  plain = jax.grad(loss(functools.partial(jnp.einsum, form)), (0, 1))(x, weight)
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), ours, plain)


@pytest.mark.parametrize(
    "name, d_model, d_ff",
    [("v5e:2x2", 768, 2944), pytest.param("tpu7x:2x2x1", 896, 3840, marks=pytest.mark.slow)],
)
def test_the_kernels_compile_at_the_models_widths(name, d_model, d_ff):
  device = topology.devices(name)[0]
  mesh = Mesh(np.array([device]), ("x",), axis_types=(AxisType.Auto,))
  shape = lambda *sizes, dtype=jnp.float32: jax.ShapeDtypeStruct(
      sizes, dtype, sharding=jax.sharding.NamedSharding(mesh, PartitionSpec())
  )

  def run(x, scale, gate_up, down):
    out, pullback = jax.vjp(TpuBlocks(EPS, device_kind=device.device_kind).mlp, x, scale, gate_up, down)
    return pullback(out)

  arrays = shape(2048, d_model, dtype=jnp.bfloat16), shape(d_model), shape(d_model, 2 * d_ff), shape(d_ff, d_model)
  sharded = jax.shard_map(
      run, mesh=mesh, in_specs=(PartitionSpec(),) * 4, out_specs=PartitionSpec(), check_vma=False
  )
  assert jax.jit(sharded).lower(*arrays).compile().as_text().count('custom_call_target="tpu_custom_call"') == 2
