"""The loss, the optimizer, the guard, and the train and eval steps: pure functions, jitted by `training.program`."""

import dataclasses
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from bsm_jax import tokenizer
from bsm_jax.input import segments

# Classes that the loss is told apart by: everything that is no letter of a known modality, then each modality.
CLASSES = ("special", *(m.name.lower() for m in tokenizer.Modality))
_FIRST_TAG = min(tokenizer.Modality)

# How many rows a step names as those with the greatest loss.
WORST_ROWS = 8

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


@dataclasses.dataclass(frozen=True)
class GuardConfig:
  """When a step is thrown away: its loss or gradient is not finite, or its gradient is far larger than is usual.

  Attributes:
    spike_factor: gradient norms beyond this multiple of their running mean are spikes; 0 turns this part off.
    spikes_in_a_row: so many are thrown away one after the other, and then no more: what stays large is no batch's
      doing but the parameters', which only a (clipped) step can move. The running mean begins anew from there.
    window: steps that the running mean looks back; before as many steps were taken, nothing is a spike.
    max_in_a_row: so many skipped steps in a row end the run.
  """

  spike_factor: float = 20.0
  spikes_in_a_row: int = 3
  window: int = 100
  max_in_a_row: int = 10


def decay_mask(params):
  """True where weight decay applies."""
  return jax.tree_util.tree_map_with_path(
      lambda path, _: not _NO_DECAY.search(jax.tree_util.keystr(path, simple=True, separator="/")), params
  )


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
  """What the gradient becomes before it is scaled by the learning rate and subtracted."""
  return optax.chain(
      optax.clip_by_global_norm(config.clip_norm),
      optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps),
      optax.add_decayed_weights(config.weight_decay, mask=decay_mask),
  )


def init_state(params, optimizer: optax.GradientTransformation) -> dict:
  """Train state.

  Returns:
    `step` (int32, steps done, skipped ones too), `params`, `opt_state`, and `guard`: `norm` (fp32, running mean of the
    gradient norm), `skipped` and `in_a_row` (int32, steps thrown away in all and up to the last one).
  """
  count = lambda: jnp.zeros((), jnp.int32)
  guard = {"norm": jnp.zeros((), jnp.float32), "skipped": count(), "in_a_row": count()}
  return {"step": count(), "params": params, "opt_state": optimizer.init(params), "guard": guard}


def begin_anew(state: dict) -> dict:
  """The state of an earlier run with its parameters and optimizer, at step 0 and with a guard that knows nothing."""
  return state | {"step": jnp.zeros((), jnp.int32), "guard": jax.tree.map(jnp.zeros_like, state["guard"])}


def check(config: GuardConfig, guard: dict, step: jax.Array, loss: jax.Array, norm: jax.Array):
  """Whether a step is to be taken, and the guard's state after it.

  Args:
    config: the limits.
    guard: its state; see `init_state`.
    step: int32 [], steps done before this one.
    loss: fp32 [], mean loss of the step.
    norm: fp32 [], norm of its gradient.

  Returns:
    bool [], and the new state.
  """
  taken = step - guard["skipped"]
  finite = jnp.isfinite(loss) & jnp.isfinite(norm)
  spike = (taken >= config.window) & (norm > config.spike_factor * guard["norm"]) & (config.spike_factor > 0)
  fine = finite & (~spike | (guard["in_a_row"] >= config.spikes_in_a_row))
  rate = 1.0 / (1 + jnp.minimum(taken, config.window)).astype(jnp.float32)
  mean = guard["norm"] + jnp.where(spike, 1.0, rate) * (norm - guard["norm"])
  return fine, {
      "norm": jnp.where(fine, mean, guard["norm"]),
      "skipped": guard["skipped"] + ~fine,
      "in_a_row": jnp.where(fine, 0, guard["in_a_row"] + 1),
  }


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


def _worst(rows_b: jax.Array, losses_b: jax.Array) -> jax.Array:
  """int32 [min(b, WORST_ROWS)]: the rows with the greatest loss, those without a finite one first."""
  losses_b = jnp.where(jnp.isfinite(losses_b), losses_b, jnp.inf)
  return rows_b[jax.lax.top_k(losses_b, min(WORST_ROWS, rows_b.size))[1]]


def make_train_step(
    apply,
    optimizer: optax.GradientTransformation,
    learning_rate: Callable[[jax.Array], jax.Array],
    *,
    n_row_sets: int,
    guard: GuardConfig = GuardConfig(),
    accumulation: int = 1,
    attend_across_documents: bool = False,
    gradient_shardings=None,
):
  """The train step.

  Args:
    apply: see `token_losses`.
    optimizer: see `make_optimizer`.
    learning_rate: by 0-based step, traceable.
    n_row_sets: how many row sets `batch["row_set"]` numbers.
    guard: a step that it forbids changes neither parameters nor the optimizer's state, and is counted.
    accumulation: microbatches that a batch is cut into; gradients are normalised by the tokens of the whole batch, so
      the step is the same for any number of them.
    attend_across_documents: see `token_losses`.
    gradient_shardings: a tree of shardings like the parameters', where the optimizer needs the gradients: devices then
      scatter their sums instead of each receiving all of them. None: wherever they fall.

  Returns:
    `train_step(state, batch) -> (state, metrics)`.
    batch: `tokens` [b, s], `row_set` and `row` int32 [b], and `stop` bool [b], of which every host sets its own part.
    metrics: `table` fp32 [n_row_sets, 2, len(CLASSES)] (see `loss_table`; zeros for a skipped step), `loss` (mean over
    all targets, nats), `grad_norm` (before clipping), `lr`, `skipped` (whether the guard forbade the step),
    `skipped_in_all` and `in_a_row` (such steps of the run, and up to this one), `worst_rows` (`row` of those with the
    greatest mean loss), `stop` (whether any host's was set: all hosts learn of it at the same step).
  """

  def summed_loss(params, microbatch):
    losses_bs, classes_bs = token_losses(
        apply, params, microbatch["tokens"], attend_across_documents=attend_across_documents
    )
    by_set_br = jax.nn.one_hot(microbatch["row_set"], n_row_sets)
    table_bxc = loss_table(losses_bs, classes_bs)
    of_rows_b = table_bxc[:, 0].sum(1) / jnp.maximum(table_bxc[:, 1].sum(1), 1.0)
    return losses_bs.sum(), (jnp.einsum("br,bxc->rxc", by_set_br, table_bxc), of_rows_b)

  def gradient(params, microbatch):
    gradients, (table, of_rows_b) = jax.grad(summed_loss, has_aux=True)(params, microbatch)
    if gradient_shardings is not None:
      gradients = jax.lax.with_sharding_constraint(gradients, gradient_shardings)
    return (gradients, table), of_rows_b

  def train_step(state, batch):
    params = state["params"]
    if accumulation == 1:
      (gradients, table), of_rows_b = gradient(params, batch)
      rows_b = batch["row"]
    else:
      # Every microbatch takes each accumulation-th row, so that the batch axis stays evenly spread over the devices.
      microbatches = jax.tree.map(
          lambda x: x.reshape(x.shape[0] // accumulation, accumulation, *x.shape[1:]).swapaxes(0, 1), batch
      )

      def accumulate(total, microbatch):
        part, of_rows_b = gradient(params, microbatch)
        return jax.tree.map(jnp.add, total, part), of_rows_b

      zeros = jax.tree.map(jnp.zeros_like, params), jnp.zeros((n_row_sets, 2, len(CLASSES)), jnp.float32)
      (gradients, table), of_rows = jax.lax.scan(accumulate, zeros, microbatches)
      of_rows_b, rows_b = of_rows.reshape(-1), microbatches["row"].reshape(-1)
    loss, targets = table.sum((0, 2))
    loss /= jnp.maximum(targets, 1.0)
    gradients = jax.tree.map(lambda g: g / jnp.maximum(targets, 1.0), gradients)
    norm, lr = optax.tree.norm(gradients), learning_rate(state["step"])
    fine, guard_state = check(guard, state["guard"], state["step"], loss, norm)
    updates, opt_state = optimizer.update(gradients, state["opt_state"], params)
    after = optax.apply_updates(params, jax.tree.map(lambda u: -lr * u, updates)), opt_state
    params, opt_state = jax.tree.map(lambda new, old: jnp.where(fine, new, old), after, (params, state["opt_state"]))
    metrics = {
        "table": jnp.where(fine, table, 0.0),
        "loss": loss,
        "grad_norm": norm,
        "lr": lr,
        "skipped": ~fine,
        "skipped_in_all": guard_state["skipped"],
        "in_a_row": guard_state["in_a_row"],
        "worst_rows": _worst(rows_b, of_rows_b),
        "stop": batch["stop"].any(),
    }
    return {"step": state["step"] + 1, "params": params, "opt_state": opt_state, "guard": guard_state}, metrics

  return train_step


def make_eval_step(apply, *, attend_across_documents: bool = False):
  """The validation step.

  Returns:
    `eval_step(params, batch) -> metrics`. batch: `tokens` [b, s], `stop` bool [b]; metrics: `table` fp32 [2,
    len(CLASSES)], summed loss in nats and targets by class, and `stop`, as the train step's.
  """

  def eval_step(params, batch):
    of_tokens = token_losses(apply, params, batch["tokens"], attend_across_documents=attend_across_documents)
    return {"table": loss_table(*of_tokens).sum(0), "stop": batch["stop"].any()}

  return eval_step
