"""A head on the decoder's features, and which parameters of both are trained: pure functions of parameter trees.

  full   all parameters, as the paper
  probe  the head alone, by `linear.py`; the decoder's features never change, so they are computed once
  lora   the head and low-rank changes of the decoder's matrices (arXiv 2106.09685), added to them at the end
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from bsm_jax import tokenizer
from bsm_jax.input import segments

MODES = ("full", "probe", "lora")
POOLS = ("last", "mean")
ADAPTED = ("qkv", "attention_out", "gate_up", "down")


class HeadError(ValueError):
  """Settings of the head that do not exist; the message names those that do."""


@dataclasses.dataclass(frozen=True)
class HeadConfig:
  """What is trained, and from which features.

  Attributes:
    mode: one of `MODES`.
    pool: features of the "last" token (`<eos>`, which has seen all), or the "mean" over all letters.
    rank: of LoRA's changes.
    alpha: LoRA's changes are scaled by alpha / rank.
    bias: whether a number is added to each output; without, transformers' Llama can hold the head.
  """

  mode: str = "full"
  pool: str = "last"
  rank: int = 8
  alpha: float = 16.0
  bias: bool = True

  def __post_init__(self):
    if self.mode not in MODES:
      raise HeadError(f"mode {self.mode!r}: use one of {', '.join(MODES)}")
    if self.pool not in POOLS:
      raise HeadError(f"pool {self.pool!r}: use one of {', '.join(POOLS)}")
    if self.rank < 1:
      raise HeadError(f"lora rank {self.rank}: it must be 1 or more")


def init_trained(config: HeadConfig, params: dict, n_outputs: int, seed: int) -> dict:
  """The trained part of a model, before training.

  Args:
    config: see `HeadConfig`.
    params: the decoder's (`bsm_jax.model.init_params`).
    n_outputs: of the head.
    seed: of the head's and of LoRA's random numbers.

  Returns:
    `head` (`weight` fp32 [d, n_outputs], `bias` fp32 [n_outputs] if it has one), and by mode `decoder` (the
    parameters) or `adapters` (for each layer and matrix `a` fp32 [in, rank], random, and `b` fp32 [rank, out], zero:
    together they change nothing yet).
  """
  rng = np.random.default_rng(seed)
  d = params["final_norm"].shape[0]
  weight = rng.normal(0, 0.02, (d, n_outputs)).astype(np.float32)
  trained = {"head": {"weight": weight} | ({"bias": np.zeros(n_outputs, np.float32)} if config.bias else {})}
  if config.mode == "full":
    trained["decoder"] = params
  elif config.mode == "lora":
    trained["adapters"] = {
        number: {name: _adapter(rng, layer[name].shape, config.rank) for name in ADAPTED}
        for number, layer in params["layers"].items()
    }
  return trained


def _adapter(rng: np.random.Generator, shape: tuple[int, int], rank: int) -> dict:
  a = rng.normal(0, shape[0] ** -0.5, (shape[0], rank)).astype(np.float32)
  return {"a": a, "b": np.zeros((rank, shape[1]), np.float32)}


def decoder_params(config: HeadConfig, trained: dict, frozen: dict) -> dict:
  """The decoder's parameters with what was trained of them.

  Args:
    config: see `HeadConfig`.
    trained: see `init_trained`.
    frozen: the decoder's parameters before training; not read where all of them are trained.
  """
  if config.mode == "full":
    return trained["decoder"]
  if config.mode == "probe":
    return frozen
  scale = config.alpha / config.rank
  layers = {}
  for number, layer in frozen["layers"].items():
    changes = {
        name: scale * jnp.matmul(x["a"], x["b"], precision="highest") for name, x in trained["adapters"][number].items()
    }
    layers[number] = {name: value + changes[name] if name in changes else value for name, value in layer.items()}
  return frozen | {"layers": layers}


def pool(features_nd: jax.Array, tokens_bs: jax.Array, how: str) -> jax.Array:
  """One vector a row, fp32 [b, d]; zeros for the mean of a row without letters.

  Args:
    features_nd: of the decoder, [b * s, d].
    tokens_bs: one document in each row, padding behind it.
    how: one of `POOLS`.
  """
  tokens_bs = tokens_bs.astype(jnp.int32)
  if how == "last":
    last_b = jnp.maximum((tokens_bs != tokenizer.PAD).sum(1) - 1, 0)
    weights_bs = jax.nn.one_hot(last_b, tokens_bs.shape[1])
  else:
    letters_bs = (tokens_bs >= tokenizer.FIRST_NUCLEOTIDE) | (tokens_bs == tokenizer.UNK)
    weights_bs = letters_bs / jnp.maximum(letters_bs.sum(1, keepdims=True), 1)
  features_bsd = features_nd.astype(jnp.float32).reshape(*tokens_bs.shape, -1)
  return jnp.einsum("bsd,bs->bd", features_bsd, weights_bs.astype(jnp.float32), precision="highest")


def pool_features(config: HeadConfig, features: Callable, params: dict, tokens_bs: jax.Array) -> jax.Array:
  """`pool` of the decoder's features of these tokens. Args: see `make_forward`."""
  features_nd = features(params, tokens_bs, segments.segment_ids(tokens_bs), segments.positions(tokens_bs))
  return pool(features_nd, tokens_bs, config.pool)


def outputs(head: dict, pooled_bd: jax.Array) -> jax.Array:
  """The head's outputs, fp32 [b, n_outputs]."""
  return jnp.matmul(pooled_bd, head["weight"], precision="highest") + head.get("bias", jnp.zeros(1))[None]


def fold(head: dict, mean_d: np.ndarray, scale_d: np.ndarray) -> dict:
  """The head for pooled features, of one that was trained on `(features - mean) / scale`; without a bias mean is 0."""
  weight = np.asarray(head["weight"]) / scale_d[:, None]
  return {"weight": weight} | ({"bias": np.asarray(head["bias"]) - mean_d @ weight} if "bias" in head else {})


def make_forward(config: HeadConfig, features: Callable) -> Callable:
  """`forward(trained, frozen, tokens_bs) -> outputs`.

  Args:
    config: see `HeadConfig`.
    features: `bsm_jax.model.make_features`.
  """

  def forward(trained, frozen, tokens_bs):
    params = decoder_params(config, trained, frozen)
    return outputs(trained["head"], pool_features(config, features, params, tokens_bs))

  return forward
