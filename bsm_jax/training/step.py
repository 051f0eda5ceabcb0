"""The loss, the optimizer, and the train and eval steps: pure functions, jitted by `bsm_jax.train`."""

import dataclasses
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from bsm_jax import tokenizer
from bsm_jax.input import segments

# Classes that the loss is told apart by: everything that is no letter, then each modality.
CLASSES = ("special", *(m.name.lower() for m in tokenizer.Modality))
_FIRST_TAG = min(tokenizer.Modality)

# Norm scales are not decayed.
_NO_DECAY = re.compile(r"norm")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """AdamW (arXiv 1711.05101) behind a clip of the global gradient norm.

  Attributes:
    b1, b2, eps: Adam's.
    weight_decay: multiplied by the learning rate; matrices and the embedding only.
    clip_norm: gradients with a larger global norm are scaled down to it.
  """

  b1: float = 0.9
  b2: float = 0.95
  eps: float = 1e-8
  weight_decay: float = 0.1
  clip_norm: float = 1.0


def decay_mask(params):
  """True where weight decay applies."""
  return jax.tree_util.tree_map_with_path(
      lambda path, _: not _NO_DECAY.search(jax.tree_util.keystr(path, simple=True, separator="/")), params
  )


def make_optimizer(config: OptimizerConfig, learning_rate: Callable[[jax.Array], jax.Array]):
  """Args: the config; learning rate by 0-based step. Returns an `optax.GradientTransformation`."""
  return optax.chain(
      optax.clip_by_global_norm(config.clip_norm),
      optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps),
      optax.add_decayed_weights(config.weight_decay, mask=decay_mask),
      optax.scale_by_learning_rate(learning_rate),
  )


def init_state(params, optimizer) -> dict:
  """Train state: `step` (int32, steps taken), `params` and `opt_state`."""
  return {"step": jnp.zeros((), jnp.int32), "params": params, "opt_state": optimizer.init(params)}


def token_losses(apply, params, tokens_bs: jax.Array, *, attend_across_documents: bool = False):
  """Cross-entropy of every next token, in nats.

  Args:
    apply: `apply(params, tokens, segment_ids, positions) -> logits` (`bsm_jax.model.make_apply`).
    params: its parameters.
    tokens_bs: packed rows [batch, context], any integer dtype.
    attend_across_documents: one segment for the whole row.

  Returns:
    losses fp32 [batch, context], zero where nothing is predicted; classes int32 [batch, context] of the targets,
    an index into `CLASSES`, -1 where nothing is predicted.
  """
  tokens_bs = tokens_bs.astype(jnp.int32)
  if attend_across_documents:
    segment_ids_bs = (tokens_bs != tokenizer.PAD).astype(jnp.int32)
    positions_bs = jax.lax.broadcasted_iota(jnp.int32, tokens_bs.shape, 1)
  else:
    segment_ids_bs, positions_bs = segments.segment_ids(tokens_bs), segments.positions(tokens_bs)
  logits_bsv = apply(params, tokens_bs, segment_ids_bs, positions_bs)
  targets_bs, counts_bs = segments.next_tokens(tokens_bs)
  # A product with one-hot targets instead of a gather, for the same reason as in the embedding.
  target_logits_bs = jnp.sum(jax.nn.one_hot(targets_bs, logits_bsv.shape[-1]) * logits_bsv, axis=-1)
  losses_bs = jnp.where(counts_bs, jax.nn.logsumexp(logits_bsv, axis=-1) - target_logits_bs, 0.0)
  modality_bs = jnp.roll(segments.modalities(tokens_bs), -1, axis=1)
  classes_bs = jnp.where(modality_bs > 0, modality_bs - _FIRST_TAG + 1, 0)
  return losses_bs, jnp.where(counts_bs, classes_bs, -1)


def loss_table(losses_bs: jax.Array, classes_bs: jax.Array) -> jax.Array:
  """Sums by row and class: fp32 [batch, 2, len(CLASSES)], summed loss in nats and number of targets."""
  by_class_bsc = jax.nn.one_hot(classes_bs, len(CLASSES))
  return jnp.stack([jnp.einsum("bs,bsc->bc", losses_bs, by_class_bsc), by_class_bsc.sum(1)], axis=1)


def make_train_step(
    apply,
    optimizer,
    *,
    n_row_sets: int,
    accumulation: int = 1,
    attend_across_documents: bool = False,
    gradient_shardings=None,
):
  """The train step.

  Args:
    apply: see `token_losses`.
    optimizer: an optax transformation.
    n_row_sets: how many row sets `batch["row_set"]` numbers.
    accumulation: microbatches that a batch is cut into; gradients are normalised by the tokens of the whole batch, so
      the step is the same for any number of them.
    attend_across_documents: see `token_losses`.
    gradient_shardings: a tree of shardings like the parameters', where the optimizer needs the gradients: devices then
      scatter their sums instead of each receiving all of them. None: wherever they fall.

  Returns:
    `train_step(state, batch) -> (state, metrics)`, with batch `{"tokens": [b, s], "row_set": [b]}` and metrics
    `table` fp32 [n_row_sets, 2, len(CLASSES)] (see `loss_table`), `loss` (mean over all targets, nats) and `grad_norm`
    (before clipping).
  """

  def summed_loss(params, microbatch):
    losses_bs, classes_bs = token_losses(
        apply, params, microbatch["tokens"], attend_across_documents=attend_across_documents
    )
    by_set_br = jax.nn.one_hot(microbatch["row_set"], n_row_sets)
    table = jnp.einsum("br,bxc->rxc", by_set_br, loss_table(losses_bs, classes_bs))
    return losses_bs.sum(), table

  def gradient(params, microbatch):
    gradients, table = jax.grad(summed_loss, has_aux=True)(params, microbatch)
    if gradient_shardings is not None:
      gradients = jax.lax.with_sharding_constraint(gradients, gradient_shardings)
    return gradients, table

  def train_step(state, batch):
    params = state["params"]
    if accumulation == 1:
      gradients, table = gradient(params, batch)
    else:
      # Every microbatch takes each accumulation-th row, so that the batch axis stays evenly spread over the devices.
      microbatches = jax.tree.map(
          lambda x: x.reshape(x.shape[0] // accumulation, accumulation, *x.shape[1:]).swapaxes(0, 1), batch
      )
      zeros = jax.tree.map(jnp.zeros_like, params), jnp.zeros((n_row_sets, 2, len(CLASSES)), jnp.float32)
      accumulate = lambda total, microbatch: (jax.tree.map(jnp.add, total, gradient(params, microbatch)), None)
      (gradients, table), _ = jax.lax.scan(accumulate, zeros, microbatches)
    loss, targets = table.sum((0, 2))
    gradients = jax.tree.map(lambda g: g / jnp.maximum(targets, 1.0), gradients)
    updates, opt_state = optimizer.update(gradients, state["opt_state"], params)
    metrics = {
        "table": table,
        "loss": loss / jnp.maximum(targets, 1.0),
        "grad_norm": optax.tree.norm(gradients),
    }
    return {"step": state["step"] + 1, "params": optax.apply_updates(params, updates), "opt_state": opt_state}, metrics

  return train_step


def make_eval_step(apply, *, attend_across_documents: bool = False):
  """`eval_step(params, tokens [b, s]) -> fp32 [2, len(CLASSES)]`: summed loss in nats, and targets, by class."""

  def eval_step(params, tokens_bs):
    losses_bs, classes_bs = token_losses(apply, params, tokens_bs, attend_across_documents=attend_across_documents)
    return loss_table(losses_bs, classes_bs).sum(0)

  return eval_step
