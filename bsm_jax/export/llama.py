"""Our parameters as Hugging Face's Llama names and lays them out, and its config: both ways, nothing read or written.

Ours multiply from the right ([in, out]), PyTorch's from the left ([out, in]). Rotary positions are half-split in both,
so heads keep their features' order. Everything goes part by part: the embedding, each layer, the final norm.

Layout: https://huggingface.co/docs/transformers/model_doc/llama (LlamaConfig, LlamaForCausalLM).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from bsm_jax import model as model_lib
from bsm_jax import tokenizer
from bsm_jax.model import ModelConfig

LM_HEAD = "lm_head.weight"

# What a config may leave out, and its value then (transformers' `LlamaConfig`).
_DEFAULTS = {
    "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "rms_norm_eps": 1e-6, "rope_theta": 10_000.0,
}  # fmt: skip


class LlamaError(ValueError):
  """A config or tensors that are no model of ours; the message names what differs."""


def parts(config: ModelConfig) -> list[str]:
  """The keys of `part_of` and `tensors`: "embedding", every layer's name, "final_norm"."""
  return ["embedding", *(model_lib.layer_name(number) for number in range(config.n_layers)), "final_norm"]


def part_of(params: Mapping, part: str) -> dict:
  """The tree of parameters that holds this part and nothing else."""
  return {part: params[part]} if part in params else {"layers": {part: params["layers"][part]}}


def tensors(tree: Mapping, config: ModelConfig) -> dict[str, np.ndarray]:
  """One part under Hugging Face's names.

  Args:
    tree: what `part_of` gives, as arrays of NumPy or JAX.
    config: the shape.

  Returns:
    by name, views where the library makes views; the embedding has `vocab_size` rows.
  """
  if "embedding" in tree:
    return {"model.embed_tokens.weight": tree["embedding"][: config.vocab_size]}
  if "final_norm" in tree:
    return {"model.norm.weight": tree["final_norm"]}
  [(name, layer)] = tree["layers"].items()
  prefix, d, width = f"model.layers.{int(name)}", config.d_model, config.n_heads * config.head_dim
  qkv_dhtk = layer["qkv"].reshape(d, config.n_heads, 3, config.head_dim)
  query, key, value = (qkv_dhtk[:, :, which].reshape(d, width).T for which in range(3))
  return {
      f"{prefix}.input_layernorm.weight": layer["attention_norm"],
      f"{prefix}.self_attn.q_proj.weight": query,
      f"{prefix}.self_attn.k_proj.weight": key,
      f"{prefix}.self_attn.v_proj.weight": value,
      f"{prefix}.self_attn.o_proj.weight": layer["attention_out"].T,
      f"{prefix}.post_attention_layernorm.weight": layer["mlp_norm"],
      f"{prefix}.mlp.gate_proj.weight": layer["gate_up"][:, : config.d_ff].T,
      f"{prefix}.mlp.up_proj.weight": layer["gate_up"][:, config.d_ff :].T,
      f"{prefix}.mlp.down_proj.weight": layer["down"].T,
  }


def parameters(found: Mapping[str, np.ndarray], part: str, config: ModelConfig) -> dict:
  """The inverse of `tensors`: one part as a tree of ours, the embedding's rows without a token zero.

  Args:
    found: the part's tensors by name.
    part: one of `parts`.
    config: the shape.
  """
  if part == "embedding":
    embedding = found["model.embed_tokens.weight"]
    return {part: np.pad(embedding, ((0, model_lib.PADDED_VOCAB_SIZE - len(embedding)), (0, 0)))}
  if part == "final_norm":
    return {part: found["model.norm.weight"]}
  get = lambda name: found[f"model.layers.{int(part)}.{name}.weight"]
  d = config.d_model
  by_head = [get(f"self_attn.{x}_proj").T.reshape(d, config.n_heads, config.head_dim) for x in "qkv"]
  return {"layers": {part: {
      "attention_norm": get("input_layernorm"),
      "qkv": np.stack(by_head, axis=2).reshape(d, -1),
      "attention_out": get("self_attn.o_proj").T,
      "mlp_norm": get("post_attention_layernorm"),
      "gate_up": np.concatenate([get("mlp.gate_proj").T, get("mlp.up_proj").T], axis=1),
      "down": get("mlp.down_proj").T,
  }}}  # fmt: skip


def tensor_shapes(config: ModelConfig) -> dict[str, dict[str, tuple[int, ...]]]:
  """For each of `parts`, the names and shapes of its tensors."""
  abstract = jax.eval_shape(lambda: model_lib.init_params(config, 0))
  found = {part: jax.eval_shape(lambda tree: tensors(tree, config), part_of(abstract, part)) for part in parts(config)}
  return {part: {name: leaf.shape for name, leaf in of_part.items()} for part, of_part in found.items()}


def to_config(config: ModelConfig, context: int, dtype: str) -> dict:
  """`config.json` of `LlamaForCausalLM`, as transformers 4 and 5 read it.

  Args:
    config: the shape.
    context: tokens in a row, the positions that were trained.
    dtype: of the tensors.
  """
  return {
      "architectures": ["LlamaForCausalLM"],
      "model_type": "llama",
      "vocab_size": config.vocab_size,
      "hidden_size": config.d_model,
      "intermediate_size": config.d_ff,
      "num_hidden_layers": config.n_layers,
      "num_attention_heads": config.n_heads,
      "num_key_value_heads": config.n_heads,
      "head_dim": config.head_dim,
      "hidden_act": "silu",
      "max_position_embeddings": context,
      "rms_norm_eps": config.norm_eps,
      # transformers 4 reads the first, 5 the second.
      "rope_theta": config.rope_theta,
      "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
      "attention_bias": False,
      "attention_dropout": 0.0,
      "mlp_bias": False,
      "tie_word_embeddings": True,
      "initializer_range": 0.02,
      "use_cache": True,
      "bos_token_id": tokenizer.BOS,
      "eos_token_id": tokenizer.EOS,
      "pad_token_id": tokenizer.PAD,
      # Likewise: before 4.56 and after.
      "torch_dtype": dtype,
      "dtype": dtype,
  }


def from_config(found: Mapping) -> dict:
  """The sizes in a `config.json`, as `ModelConfig` names them, without `vocab_size`.

  Raises:
    LlamaError: it is no decoder of our layout and vocabulary; the message holds every reason.
  """
  get = lambda key: found.get(key, _DEFAULTS.get(key))
  heads, wrong = get("num_attention_heads"), []

  def demand(key: str, value, expected) -> None:
    if value != expected:
      wrong.append(f"{key} is {value!r}, not {expected!r}")

  demand("model_type", get("model_type"), "llama")
  demand("architectures", get("architectures") or ["LlamaForCausalLM"], ["LlamaForCausalLM"])
  demand("num_key_value_heads", found.get("num_key_value_heads") or heads, heads)
  for key in ("attention_bias", "mlp_bias"):
    demand(key, bool(get(key)), False)
  demand("hidden_act", get("hidden_act"), "silu")
  demand("vocab_size", get("vocab_size"), tokenizer.VOCAB_SIZE)
  if get("quantization_config") is not None:
    wrong.append("its tensors are quantized (quantization_config)")
  # transformers 5 has one mapping for what were `rope_theta` and `rope_scaling`.
  rope = dict(get("rope_parameters") or {})
  theta = rope.pop("rope_theta", get("rope_theta"))
  if "rope_theta" in found:
    demand("rope_theta", found["rope_theta"], theta)
  for key, value in (rope | (get("rope_scaling") or {})).items():
    demand(f"rope {key}", value, {"rope_type": "default", "type": "default", "partial_rotary_factor": 1.0}.get(key))
  keys = ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size")
  wrong += [f"{key} is missing" for key in keys if not isinstance(get(key), int)]
  if wrong:
    raise LlamaError("config.json describes another model than ours:\n  " + "\n  ".join(wrong))
  return {
      "n_layers": get("num_hidden_layers"),
      "n_heads": heads,
      "d_model": get("hidden_size"),
      "head_dim": get("head_dim") or get("hidden_size") // heads,
      "d_ff": get("intermediate_size"),
      "rope_theta": float(theta),
      "norm_eps": get("rms_norm_eps"),
  }


def widen(tensor: np.ndarray) -> np.ndarray:
  """fp32 of fp32, bf16 or fp16, exactly.

  Raises:
    LlamaError: it is of another dtype.
  """
  if tensor.dtype not in (np.float32, np.float16, jnp.bfloat16):
    raise LlamaError(f"dtype {tensor.dtype}: give float32, bfloat16 or float16")
  return tensor.astype(np.float32)
