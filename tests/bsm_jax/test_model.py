import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bsm_jax import model as model_lib
from bsm_jax import tokenizer
from bsm_jax.input import segments
from bsm_jax.kernels import reference
from bsm_jax.training import program
from configs import bsm_110m, bsm_270m
from tests.bsm_jax.sample_rows import CONTEXT, random_documents

SMALL = model_lib.ModelConfig(
    vocab_size=tokenizer.VOCAB_SIZE, n_layers=2, n_heads=2, d_model=32, head_dim=16, d_ff=64, dtype="float32"
)


def logits(config, params, rows):
  tokens = jnp.asarray(rows)
  return model_lib.make_apply(config)(params, tokens, segments.segment_ids(tokens), segments.positions(tokens))


def trained_like_params(config, seed=0):
  """Parameters large enough that every part of the model matters, norm scales included."""
  params = model_lib.init_params(config, seed)
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(seed), len(leaves))
  return jax.tree.unflatten(tree, [x + 0.2 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys)])


@pytest.mark.parametrize("config, expected", [(bsm_110m, 109_824_768), (bsm_270m, 270_815_104)])
def test_the_papers_models_have_their_parameter_counts(config, expected):
  model = program.model_config(config.get_config())
  params = jax.eval_shape(lambda: model_lib.init_params(model, 0))
  assert model_lib.count_params(params) == expected
  norms = (2 * model.n_layers + 1) * model.d_model
  assert model.matmul_params == expected - norms


def test_changing_a_document_changes_no_logit_of_another_in_its_row():
  rng = np.random.default_rng(0)
  params = trained_like_params(SMALL)
  first, second, third = (random_documents(rng, 1)[0] for _ in range(3))
  other = second.copy()
  other[2:-1] = rng.permutation(other[2:-1])
  assert (other != second).any()
  pack = lambda middle: np.pad(np.concatenate([first, middle, third]), (0, 128 - len(first) - len(middle) - len(third)))
  before, after = (np.asarray(logits(SMALL, params, pack(m)[None]))[0] for m in (second, other))
  inside = slice(len(first), len(first) + len(second))
  np.testing.assert_array_equal(np.delete(before, inside, 0), np.delete(after, inside, 0))
  assert (before[inside] != after[inside]).any()


def test_a_documents_logits_do_not_depend_on_its_place_in_the_row():
  rng = np.random.default_rng(1)
  params = trained_like_params(SMALL)
  first, second = (random_documents(rng, 1)[0] for _ in range(2))
  alone = np.pad(second, (0, CONTEXT - len(second)))
  packed = np.pad(np.concatenate([first, second]), (0, 2 * CONTEXT - len(first) - len(second)))
  a = logits(SMALL, params, alone[None])[0, : len(second)]
  b = logits(SMALL, params, packed[None])[0, len(first) : len(first) + len(second)]
  np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_no_logit_depends_on_a_later_token():
  rng = np.random.default_rng(2)
  params = trained_like_params(SMALL)
  row = random_documents(rng, 1)[0]
  changed = row.copy()
  changed[-2] = tokenizer.FIRST_AMINO_ACID + (changed[-2] - tokenizer.FIRST_AMINO_ACID + 1) % 20
  a, b = (np.asarray(logits(SMALL, params, r[None]))[0] for r in (row, changed))
  np.testing.assert_array_equal(a[:-2], b[:-2])
  assert (a[-2] != b[-2]).any()


def test_ids_beyond_the_vocabulary_have_no_probability():
  params = trained_like_params(SMALL)
  out = logits(SMALL, params, random_documents(np.random.default_rng(3), 1)[0][None])
  assert out.shape[-1] == model_lib.PADDED_VOCAB_SIZE
  assert jax.nn.softmax(out)[..., tokenizer.VOCAB_SIZE :].max() == 0


@pytest.mark.parametrize("change", [{"remat": "dots"}, {"remat": "full"}, {"scan": True}])
def test_remat_and_unrolling_change_neither_loss_nor_gradient(change):
  params = trained_like_params(SMALL)
  rows = np.stack([np.pad(d, (0, CONTEXT - len(d))) for d in random_documents(np.random.default_rng(4), 3)])
  loss = lambda config: jax.value_and_grad(lambda p: jax.nn.logsumexp(logits(config, p, rows), -1).mean())(params)
  expected, got = loss(SMALL), loss(dataclasses.replace(SMALL, **change))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), expected, got)


def test_attention_matches_a_loop_over_queries():
  rng = np.random.default_rng(5)
  q, k, v = (rng.normal(size=(2, 12, 3, 4)).astype(np.float32) for _ in range(3))
  segment_ids = np.sort(rng.integers(1, 4, (2, 12)), axis=1).astype(np.int32)
  expected = np.zeros_like(q)
  for b, i, h in np.ndindex(2, 12, 3):
    keys = [j for j in range(i + 1) if segment_ids[b, j] == segment_ids[b, i]]
    scores = np.array([q[b, i, h] @ k[b, j, h] for j in keys]) / 2.0
    weights = np.exp(scores - scores.max())
    expected[b, i, h] = (weights / weights.sum()) @ v[b, keys, h]
  np.testing.assert_allclose(reference.attention(q, k, v, segment_ids), expected, rtol=1e-5, atol=1e-6)


def test_unknown_choices_are_named():
  with pytest.raises(ValueError, match="remat policy 'some'"):
    dataclasses.replace(SMALL, remat="some")
  with pytest.raises(ValueError, match="attention implementation 'fast'"):
    logits(dataclasses.replace(SMALL, attention="fast"), model_lib.init_params(SMALL, 0), np.ones((1, 8), np.uint8))
