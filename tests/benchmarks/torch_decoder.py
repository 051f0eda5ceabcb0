"""The decoder of `bsm_jax.model` as a PyTorch trainer would write it: the peer of `tests.benchmarks.train_step`.

Fused projections, scaled_dot_product_attention (FlashAttention where PyTorch has it for the device and the mask), fused
AdamW. Parameters are fp32; bf16 is autocast's. The vocabulary is not padded.
"""

import contextlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from bsm_jax import model as model_lib
from bsm_jax.training.step import OptimizerConfig


class Layer(nn.Module):
  """Attention and SwiGLU, each behind an RMSNorm and added to the residual; `qkv` holds [q, k, v][head][head_dim]."""

  def __init__(self, config: model_lib.ModelConfig):
    super().__init__()
    d, width = config.d_model, config.n_heads * config.head_dim
    self.head_dim, self.eps = config.head_dim, config.norm_eps
    self.attention_norm = nn.Parameter(torch.ones(d))
    self.qkv = nn.Linear(d, 3 * width, bias=False)
    self.attention_out = nn.Linear(width, d, bias=False)
    self.mlp_norm = nn.Parameter(torch.ones(d))
    self.gate_up = nn.Linear(d, 2 * config.d_ff, bias=False)
    self.down = nn.Linear(config.d_ff, d, bias=False)

  def forward(self, x, cos, sin, mask):
    """Args: x [b, s, d]; cos and sin [b, 1, s, head_dim]; mask, added to scores, [b, 1, s, s], or None for causal."""
    batch, length, d = x.shape
    y = F.rms_norm(x, (d,), self.attention_norm.to(x.dtype), self.eps)
    q, k, v = self.qkv(y).view(batch, length, 3, -1, self.head_dim).permute(2, 0, 3, 1, 4)
    out = F.scaled_dot_product_attention(
        _rotate(q, cos, sin), _rotate(k, cos, sin), v, attn_mask=mask, is_causal=mask is None
    )
    x = x + self.attention_out(out.transpose(1, 2).reshape(batch, length, -1))
    y = F.rms_norm(x, (d,), self.mlp_norm.to(x.dtype), self.eps)
    gate, up = self.gate_up(y).chunk(2, dim=-1)
    return x + self.down(F.silu(gate) * up)


def _rotate(x, cos, sin):
  first, second = x.chunk(2, dim=-1)
  return x * cos + torch.cat((-second, first), dim=-1) * sin


class Decoder(nn.Module):
  """Mean cross-entropy of next tokens over packed rows."""

  def __init__(self, config: model_lib.ModelConfig):
    super().__init__()
    self.config = config
    self.dtype = getattr(torch, config.dtype)
    self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.d_model))
    self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
    self.final_norm = nn.Parameter(torch.ones(config.d_model))

  def forward(self, tokens, targets, cos, sin, mask):
    """Args: int64 tokens [b, s]; targets likewise, -100 where nothing is predicted; the rest as `Layer` takes it."""
    x = F.embedding(tokens, self.embedding).to(self.dtype)
    for layer in self.layers:
      x = layer(x, cos, sin, mask)
    x = F.rms_norm(x, (x.shape[-1],), self.final_norm.to(x.dtype), self.config.norm_eps)
    logits = F.linear(x, self.embedding).float()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

  @torch.no_grad()
  def load(self, params: Mapping) -> None:
    """Copies parameters of `bsm_jax.model.init_params` (of the same config)."""
    c = self.config
    # Where each column of [q, k, v][head][head_dim] is among those of [head][q, k, v][head_dim].
    columns = np.arange(3 * c.n_heads * c.head_dim).reshape(c.n_heads, 3, c.head_dim).swapaxes(0, 1).ravel()
    copy = lambda parameter, array: parameter.copy_(torch.from_numpy(np.array(array)))
    copy(self.embedding, params["embedding"][: c.vocab_size])
    copy(self.final_norm, params["final_norm"])
    for number, layer in enumerate(self.layers):
      ours = params["layers"][model_lib.layer_name(number)]
      copy(layer.attention_norm, ours["attention_norm"])
      copy(layer.mlp_norm, ours["mlp_norm"])
      copy(layer.qkv.weight, np.asarray(ours["qkv"])[:, columns].T)
      for name in ("attention_out", "gate_up", "down"):
        copy(getattr(layer, name).weight, np.asarray(ours[name]).T)


def rotary(positions: np.ndarray, config: model_lib.ModelConfig) -> tuple[torch.Tensor, torch.Tensor]:
  """Cosines and sines [b, 1, s, head_dim] of the activations' dtype, for positions [b, s]."""
  frequencies = config.rope_theta ** (-np.arange(0, config.head_dim, 2, dtype=np.float32) / config.head_dim)
  angles = np.tile(positions[:, None, :, None].astype(np.float32) * frequencies, 2)
  return tuple(torch.from_numpy(table).to(getattr(torch, config.dtype)) for table in (np.cos(angles), np.sin(angles)))


class Trainer:
  """A PyTorch train step, with everything that depends on the batch alone made beforehand and not timed."""

  def __init__(
      self, config: model_lib.ModelConfig, optimizer: OptimizerConfig, learning_rate: float, params: Mapping,
      batch: Mapping, *, device: str, compiled: bool,
  ):  # fmt: skip
    """Args:
      config: shape of the decoder; its kernels and its remat policy are not looked at.
      optimizer: AdamW's settings.
      learning_rate: of every step.
      params: where to begin, see `Decoder.load`.
      batch: numpy arrays [b, s]: `tokens`, `targets`, `counts`, `segment_ids`, `positions`; `segment_ids` None for
        causal attention over the whole row.
      device: "cpu" or "cuda".
      compiled: through torch.compile.
    """
    self._device, self._clip_norm = device, optimizer.clip_norm
    decoder = Decoder(config)
    decoder.load(params)
    decoder.to(device)
    decays = lambda name: "norm" not in name
    groups = [
        {"params": [p for n, p in decoder.named_parameters() if decays(n)], "weight_decay": optimizer.weight_decay},
        {"params": [p for n, p in decoder.named_parameters() if not decays(n)], "weight_decay": 0.0},
    ]
    self._parameters = list(decoder.parameters())
    self._optimizer = torch.optim.AdamW(
        groups, lr=learning_rate, betas=(optimizer.b1, optimizer.b2), eps=optimizer.eps, fused=True
    )
    self._decoder = torch.compile(decoder) if compiled else decoder
    self._autocast = lambda: (
        torch.autocast(device, torch.bfloat16) if config.dtype == "bfloat16" else contextlib.nullcontext()
    )
    cos, sin = rotary(batch["positions"], config)
    mask = None
    if batch["segment_ids"] is not None:
      ids = torch.from_numpy(batch["segment_ids"])
      seen = (ids[:, :, None] == ids[:, None, :]).tril()
      mask = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf).to(cos.dtype)[:, None]
    targets = np.where(batch["counts"], batch["targets"].astype(np.int64), -100)
    arguments = torch.from_numpy(batch["tokens"].astype(np.int64)), torch.from_numpy(targets), cos, sin, mask
    self._arguments = [None if x is None else x.to(device) for x in arguments]

  def step(self) -> torch.Tensor:
    """One train step on the batch; the loss before it, on the device."""
    with self._autocast():
      loss = self._decoder(*self._arguments)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
    self._optimizer.step()
    self._optimizer.zero_grad(set_to_none=True)
    return loss.detach()

  def synchronize(self) -> None:
    if self._device == "cuda":
      torch.cuda.synchronize()
