"""Training of a head and decoder on labelled documents: the jitted step, its batches, early stopping; and the probe."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bsm_jax import model as model_lib
from bsm_jax import sharding, tokenizer
from bsm_jax.evaluation.finetune import head as head_lib
from bsm_jax.evaluation.finetune import linear
from bsm_jax.evaluation.finetune import objective as objective_lib
from bsm_jax.evaluation.finetune.data import Part
from bsm_jax.inference import batches as batches_lib
from bsm_jax.inference.loaded import Model
from bsm_jax.training import step as step_lib


class FinetuneError(ValueError):
  """Settings or data with which no model can be fine-tuned; the message names the remedy."""


@dataclasses.dataclass(frozen=True)
class LoopConfig:
  """How parameters are trained.

  Attributes:
    learning_rate: after the warmup.
    head_learning_rate: of the head, which begins at random; 0: the same.
    warmup_steps: over which the learning rate rises linearly from zero.
    final_share: of the learning rate that is left at the last step, linear from the warmup on.
    weight_decay, clip_norm, b1, b2: see `bsm_jax.training.step.OptimizerConfig`.
    batch_size: examples in a step.
    epochs: passes over the training data, if nothing stops them before.
    eval_every_steps: steps between evaluations on the development data; 0: once an epoch.
    patience: so many evaluations in a row without a better one end the training; 0: none do.
  """

  learning_rate: float = 1e-6
  head_learning_rate: float = 0.0
  warmup_steps: int = 100
  final_share: float = 1.0
  weight_decay: float = 0.01
  clip_norm: float = 1.0
  b1: float = 0.9
  b2: float = 0.98
  batch_size: int = 16
  epochs: int = 20
  eval_every_steps: int = 0
  patience: int = 5

  def __post_init__(self):
    for name in ("learning_rate", "batch_size", "epochs"):
      if getattr(self, name) <= 0:
        raise FinetuneError(f"{name} {getattr(self, name)}: it must be positive")


@dataclasses.dataclass(frozen=True)
class Fit:
  """What training made.

  Attributes:
    trained: the parameters of the best evaluation, on the host; see `head.init_trained`.
    best_step: after which it was taken.
    steps: in all; none for a probe.
    history: for each evaluation `step`, `epoch`, `loss` (mean over the training examples since the one before) and
      `dev`, the metric; for a probe `linear.Linear.tried`.
  """

  trained: dict
  best_step: int
  steps: int
  history: list[dict]


@dataclasses.dataclass(frozen=True)
class Program:
  """Everything that is compiled, for any parameters of one shape.

  Attributes:
    model: whose shape, kernels and devices are used.
    head, config, objective: the settings.
    lengths: to which rows are padded: few, since each is compiled with its backward pass.
    init: `init(trained) -> state`.
    train_step: `train_step(state, frozen, batch) -> (state, loss)`, the state donated. batch: `inputs`, `labels`,
      `weights` (fp32 [b], 0 for rows that fill the batch up); loss fp32 [], the sum over the rows.
    forward: `forward(trained, frozen, inputs) -> outputs`.
    pooled: `pooled(params, tokens) -> fp32 [b, d]`, what a probe is trained on.
  """

  model: Model
  head: head_lib.HeadConfig
  config: LoopConfig
  objective: objective_lib.Objective
  lengths: list[int]
  init: Callable
  train_step: Callable
  forward: Callable
  pooled: Callable

  @property
  def rows(self) -> int:
    """Rows of a training batch: the batch size, filled up to a multiple of the devices."""
    return -(-self.config.batch_size // self.model.places) * self.model.places


def learning_rates(config: LoopConfig, total_steps: int, step: jax.Array) -> jax.Array:
  """fp32 learning rate of a 0-based step."""
  step = jnp.asarray(step, jnp.float32)
  warm = jnp.minimum((step + 1) / max(1, config.warmup_steps), 1.0)
  into = jnp.clip((step - config.warmup_steps) / max(1, total_steps - config.warmup_steps), 0.0, 1.0)
  return config.learning_rate * warm * (1 - (1 - config.final_share) * into)


def make_program(
    model: Model, head: head_lib.HeadConfig, config: LoopConfig, objective: objective_lib.Objective, *,
    n_examples: int, max_length: int,
) -> Program:  # fmt: skip
  """Args: a model (its parameters are not used); the settings; training examples; tokens of the longest document."""
  features = model_lib.make_features(model.config, model.ops)
  forward = head_lib.make_forward(head, features)
  optimizer = step_lib.make_optimizer(
      step_lib.OptimizerConfig(b1=config.b1, b2=config.b2, weight_decay=config.weight_decay, clip_norm=config.clip_norm)
  )
  total_steps = config.epochs * math.ceil(n_examples / config.batch_size)
  of_head = (config.head_learning_rate or config.learning_rate) / config.learning_rate

  def summed_loss(trained, frozen, batch):
    losses_b = objective.losses(forward(trained, frozen, batch["inputs"]), batch["labels"])
    return jnp.sum(losses_b * batch["weights"])

  def train_step(state, frozen, batch):
    trained = state["trained"]
    loss, gradients = jax.value_and_grad(summed_loss)(trained, frozen, batch)
    # By the number of examples, not by their weights: in a small batch of one class its weight would cancel out.
    count = jnp.maximum(jnp.sum(batch["weights"] > 0), 1)
    gradients = jax.tree.map(lambda g: g / count, gradients)
    updates, opt_state = optimizer.update(gradients, state["opt_state"], trained)
    lr = learning_rates(config, total_steps, state["step"])
    scaled = {part: jax.tree.map(lambda u, f=of_head if part == "head" else 1.0: -lr * f * u, tree)
              for part, tree in updates.items()}  # fmt: skip
    after = {"step": state["step"] + 1, "trained": optax.apply_updates(trained, scaled), "opt_state": opt_state}
    return after, loss

  def init(trained):
    # Copies: the step gives its state's memory away, and a decoder's parameters must stay for the next seed.
    trained = jax.tree.map(jnp.copy, trained)
    return {"step": jnp.zeros((), jnp.int32), "trained": trained, "opt_state": optimizer.init(trained)}

  everywhere = sharding.replicated(model.mesh)
  return Program(
      model, head, config, objective, batches_lib.doubling_lengths(max_length),
      init=jax.jit(init, out_shardings=everywhere),
      train_step=jax.jit(train_step, donate_argnums=0, out_shardings=everywhere),
      forward=jax.jit(forward, out_shardings=model.by_row),
      pooled=jax.jit(
          lambda params, tokens: head_lib.pool_features(head, features, params, tokens), out_shardings=model.by_row
      ),
  )  # fmt: skip


class Prepared(NamedTuple):
  """Examples as the program takes them: documents' tokens, or for a probe pooled features [n, d]; and their labels."""

  inputs: list[np.ndarray] | np.ndarray
  labels: np.ndarray


def training_batches(
    program: Program, documents: Sequence[np.ndarray], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """One epoch: all examples once, in random order; documents meet others of like length.

  Args:
    program: see `make_program`.
    documents: their tokens.
    rng: draws the order.

  Yields:
    int [k <= batch_size], which examples; and uint8 [program.rows, length], padded behind and below.
  """
  size, order = program.config.batch_size, rng.permutation(len(documents))
  lengths = program.lengths
  length_of = np.searchsorted(lengths, [len(tokens) for tokens in documents])
  batches, rest = [], []
  for number in range(len(lengths)):
    members = [row for row in order if length_of[row] == number]
    whole = len(members) // size * size
    batches += [members[start : start + size] for start in range(0, whole, size)]
    rest += members[whole:]  # The shortest first: what is left of each length meets its neighbours.
  batches += [rest[start : start + size] for start in range(0, len(rest), size)]
  for number in rng.permutation(len(batches)):
    members = np.array(batches[number])
    batch = np.full((program.rows, lengths[length_of[members].max()]), tokenizer.PAD, np.uint8)
    for row, of_row in enumerate(members):
      batch[row, : len(documents[of_row])] = documents[of_row]
    yield members, batch


def _run_over(program: Program, documents: Sequence[np.ndarray], run: Callable, width: int) -> np.ndarray:
  """Results of documents, fp32 [n, width], in batches whose shape depends on nothing but a document's own length."""
  model = program.model
  found = np.empty((len(documents), width), np.float32)
  for batch in batches_lib.batches(documents, program.lengths, model.tokens_per_batch, model.places):
    found[batch.rows] = np.asarray(run(jax.device_put(batch.tokens, model.by_row)))[: len(batch.rows)]
  return found


def prepare(program: Program, params: dict, part: Part) -> Prepared:
  """A part's examples. Args: see `make_program`; the decoder's parameters; the part."""
  if program.head.mode != "probe":
    return Prepared(part.tokens, part.labels)
  run = lambda tokens: program.pooled(params, tokens)
  return Prepared(_run_over(program, part.tokens, run, program.model.config.d_model), part.labels)


def predict(program: Program, trained: dict, params: dict, examples: Prepared) -> np.ndarray:
  """What is predicted for each example, fp64 [n]; see `Objective.scores`.

  Args:
    program: see `make_program`.
    trained: of `Fit`, or on its way there.
    params: the decoder's before training.
    examples: see `prepare`.
  """
  inputs = examples.inputs
  if program.head.mode == "probe":
    head = jax.device_get(trained["head"])
    return program.objective.scores(inputs @ head["weight"] + head.get("bias", 0.0))
  trained = jax.device_put(trained, sharding.replicated(program.model.mesh))
  run = lambda tokens: program.forward(trained, _frozen(program, params), tokens)
  return program.objective.scores(_run_over(program, inputs, run, program.objective.n_outputs))


def _frozen(program: Program, params: dict) -> dict:
  """What the step needs of the decoder as it was: nothing but for LoRA."""
  return params if program.head.mode == "lora" else {}


def _fit_probe(
    program: Program, train: Prepared, dev: Prepared, metric: str, report: Callable[[dict], object]
) -> Fit:
  """The head of least loss; nothing of it is random.

  Features are standardized for it: a trained model's differ in scale by orders of magnitude.
  """
  head = program.head
  mean_d, scale_d = train.inputs.mean(0) * np.float32(head.bias), np.maximum(train.inputs.std(0), 1e-6)
  if not (np.isfinite(train.inputs).all() and np.isfinite(dev.inputs).all()):
    raise FinetuneError("the decoder's features are not finite: is the checkpoint sound?")
  of_train, of_dev = ((part.inputs.astype(np.float64) - mean_d) / scale_d for part in (train, dev))
  found = linear.fit(of_train, of_dev, (train.labels, dev.labels), program.objective, metric, bias=head.bias)
  for tried in found.tried:
    report(tried)
  standardized = {"weight": found.weight} | ({"bias": found.bias} if head.bias else {})
  folded = head_lib.fold(standardized, mean_d, scale_d)
  return Fit({"head": jax.tree.map(np.float32, folded)}, 0, 0, found.tried)


def fit(
    program: Program, params: dict, train: Prepared, dev: Prepared, *, seed: int, metric: str,
    report: Callable[[dict], object] = lambda evaluation: None,
) -> Fit:  # fmt: skip
  """Trains, and keeps the parameters that are best on the development data (of equals the first).

  Args:
    program: see `make_program`.
    params: the decoder's; unchanged, whatever the mode.
    train, dev: the data; see `prepare`.
    seed: of the head, of LoRA's changes and of the order of examples; a probe has no use for it.
    metric: of `Objective.metrics`, the greater the better; nan counts as worse than any number.
    report: called with each evaluation.

  Raises:
    FinetuneError: the loss, or what a probe is trained on, is not finite.
  """
  config, objective, model = program.config, program.objective, program.model
  if program.head.mode == "probe":
    return _fit_probe(program, train, dev, metric, report)
  weights, targets = objective.example_weights(train.labels), objective.targets(train.labels)
  trained = head_lib.init_trained(program.head, params, objective.n_outputs, seed)
  state = program.init(jax.device_put(trained, sharding.replicated(model.mesh)))
  frozen, rng = _frozen(program, params), np.random.default_rng(seed)
  best, best_value, best_step, step, waited = None, -math.inf, 0, 0, 0
  history, losses, examples = [], [], 0
  per_epoch = math.ceil(len(train.labels) / config.batch_size)
  epochs = range(1, config.epochs + 1)
  for epoch, (members, batch) in ((epoch, x) for epoch in epochs for x in training_batches(program, train.inputs, rng)):
    fill = (0, program.rows - len(members))
    batch = {"inputs": batch, "labels": np.pad(targets[members], fill), "weights": np.pad(weights[members], fill)}
    state, loss = program.train_step(state, frozen, jax.device_put(batch, model.by_row))
    losses.append(loss)
    step, examples = step + 1, examples + len(members)
    if step % (config.eval_every_steps or per_epoch) and step < config.epochs * per_epoch:
      continue
    mean = float(np.sum(jax.device_get(losses))) / examples
    if not math.isfinite(mean):
      raise FinetuneError(f"the loss is not finite by step {step}: lower optimizer.learning_rate")
    value = objective.metric(metric, dev.labels, predict(program, state["trained"], params, dev))
    history.append({"step": step, "epoch": epoch, "loss": mean, "dev": value})
    report(history[-1])
    losses, examples = [], 0
    if best is None or value > best_value:
      best, best_step, waited = jax.device_get(state["trained"]), step, 0
      best_value = -math.inf if math.isnan(value) else value
    else:
      waited += 1
    if waited and waited >= config.patience > 0:
      break
  return Fit(best, best_step, step, history)
