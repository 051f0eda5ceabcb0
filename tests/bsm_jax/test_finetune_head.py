"""Heads, pools, and the parts of a model that are trained."""

import jax
import numpy as np
import pytest

from bsm_jax import inference, tokenizer
from bsm_jax import model as model_lib
from bsm_jax.evaluation.finetune import head as head_lib
from bsm_jax.evaluation.finetune.head import HeadConfig
from bsm_jax.tokenizer import Modality
from tests.bsm_jax.sample_models import random_model

DOCUMENT = [(Modality.RNA, "acgu"), (Modality.PROTEIN, "MKV")]


def rows(*documents) -> np.ndarray:
  """Documents as rows of tokens, padded to 16, and one row of nothing but padding."""
  found = np.full((len(documents) + 1, 16), tokenizer.PAD, np.uint8)
  for row, document in enumerate(documents):
    tokens = tokenizer.encode_document(document)
    found[row, : len(tokens)] = tokens
  return found


def with_changes(trained: dict) -> dict:
  """LoRA's changes, which begin at nothing, as if they had been trained."""
  rng = np.random.default_rng(3)
  return trained | {
      "adapters": jax.tree.map(lambda x: rng.normal(0, 0.1, x.shape).astype(np.float32), trained["adapters"])
  }


@pytest.fixture(scope="module")
def features():
  model = random_model()
  return jax.jit(model_lib.make_features(model.config, model.ops))


def test_the_mean_is_over_letters_as_that_of_embeddings(features):
  model = random_model()
  pooled = head_lib.pool_features(HeadConfig(pool="mean"), features, model.params, rows(DOCUMENT))
  np.testing.assert_allclose(pooled[0], inference.embeddings(model, [DOCUMENT])[0], rtol=2e-5, atol=2e-5)
  assert not np.asarray(pooled[1]).any()


def test_the_last_token_is_the_one_before_the_padding():
  tokens = rows(DOCUMENT, DOCUMENT[:1])
  vectors = np.random.default_rng(0).normal(size=(*tokens.shape, 4)).astype(np.float32)
  pooled = head_lib.pool(vectors.reshape(-1, 4), tokens, "last")
  np.testing.assert_array_equal(pooled[0], vectors[0, 11])
  np.testing.assert_array_equal(pooled[1], vectors[1, 6])


def test_lora_changes_nothing_before_it_is_trained():
  params = random_model().params
  config = HeadConfig(mode="lora", rank=2)
  merged = head_lib.decoder_params(config, head_lib.init_trained(config, params, 1, 0), params)
  jax.tree.map(np.testing.assert_array_equal, merged, params)


def test_lora_merged_equals_lora_applied(features):
  params, tokens = random_model().params, rows(DOCUMENT)
  config = HeadConfig(mode="lora", pool="mean", rank=2, alpha=6.0)
  trained = with_changes(head_lib.init_trained(config, params, 3, 0))
  applied = head_lib.make_forward(config, features)(trained, params, tokens)
  merged = head_lib.decoder_params(config, trained, params)
  full = head_lib.make_forward(HeadConfig(pool="mean"), features)
  np.testing.assert_array_equal(applied, full({"head": trained["head"], "decoder": merged}, {}, tokens))
  untouched = full({"head": trained["head"], "decoder": params}, {}, tokens)
  assert np.abs(np.asarray(applied) - np.asarray(untouched)).max() > 1e-3
  # What a matrix does to a vector: x W + alpha / rank (x A) B.
  x, layer = np.random.default_rng(1).normal(size=48), trained["adapters"]["01"]["gate_up"]
  by_parts = x @ np.asarray(params["layers"]["01"]["gate_up"]) + 3.0 * (x @ layer["a"]) @ layer["b"]
  np.testing.assert_allclose(x @ np.asarray(merged["layers"]["01"]["gate_up"]), by_parts, rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(merged["layers"]["01"]["mlp_norm"], params["layers"]["01"]["mlp_norm"])


@pytest.mark.parametrize(("mode", "parts"), [("full", {"head", "decoder"}), ("probe", {"head"}),
                                             ("lora", {"head", "adapters"})])  # fmt: skip
def test_only_the_trained_part_is_among_what_is_trained(mode, parts):
  trained = head_lib.init_trained(HeadConfig(mode=mode), random_model().params, 5, 0)
  assert set(trained) == parts and trained["head"]["weight"].shape == (48, 5)


def test_heads_begin_by_their_seed():
  params = random_model().params
  first, same, other = (head_lib.init_trained(HeadConfig(), params, 2, seed)["head"]["weight"] for seed in (0, 0, 1))
  np.testing.assert_array_equal(first, same)
  assert (first != other).all()


def test_a_folded_head_says_of_features_what_it_said_of_standardized_ones():
  rng = np.random.default_rng(0)
  x, mean, scale = rng.normal(size=(4, 48)), rng.normal(size=48), rng.uniform(0.1, 9, 48)
  head = head_lib.init_trained(HeadConfig(), random_model().params, 2, 0)["head"] | {"bias": np.array([1.0, -2.0])}
  folded = head_lib.fold(head, mean, scale)
  expected = (x - mean) / scale @ head["weight"] + head["bias"]
  np.testing.assert_allclose(x @ folded["weight"] + folded["bias"], expected, rtol=1e-6)


@pytest.mark.parametrize(("settings", "message"), [
    ({"mode": "partial"}, "use one of full, probe, lora"), ({"pool": "max"}, "use one of last, mean"),
    ({"rank": 0}, "1 or more"),
])  # fmt: skip
def test_settings_that_do_not_exist_name_those_that_do(settings, message):
  with pytest.raises(head_lib.HeadError, match=message):
    HeadConfig(**settings)
