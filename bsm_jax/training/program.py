"""What a config runs, without data or a checkpoint: the model, the rounds, where arrays lie, and the jitted steps.

`bsm_jax.train` runs a program; `bsm_jax.compile_ahead` compiles the same one for hardware that is not there.
"""

import dataclasses
import json
import logging
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from bsm_jax import kernels, sharding, tokenizer
from bsm_jax import model as model_lib
from bsm_jax.training import rounds as rounds_lib
from bsm_jax.training import step as step_lib

_log = logging.getLogger("bsm_jax")


class ConfigError(ValueError):
  """A config that cannot run; the message names the key and the remedy."""


def model_config(config: ConfigDict) -> model_lib.ModelConfig:
  """The frozen model config of a run's ConfigDict."""
  return model_lib.ModelConfig(vocab_size=tokenizer.VOCAB_SIZE, **config.model.to_dict())


def make_mesh(
    config: ConfigDict, devices: Sequence[jax.Device] | None = None, *, slices: int | None = None
) -> Mesh:
  """The config's mesh (`sharding.make_mesh`).

  Raises:
    ConfigError: it does not fit the devices.
  """
  shape = (config.mesh.data, config.mesh.fsdp, config.mesh.model)
  try:
    return sharding.make_mesh(shape, devices, slices=slices)
  except (ValueError, NotImplementedError) as error:
    raise ConfigError(f"mesh (data, fsdp, model): {error}") from error


def with_mixtures(config: ConfigDict) -> ConfigDict:
  """A copy in which each round that names a `weights_file` has that file's `weights` (JSON) for its own.

  Raises:
    ConfigError: such a file cannot be read or holds no weights.
  """
  config = config.copy_and_resolve_references()
  for name, of_round in config.rounds.items():
    path = of_round.get("weights_file")
    if path:
      try:
        weights = json.loads(epath.Path(path).read_text())["weights"]
        of_round.weights = ConfigDict({row_set: float(weight) for row_set, weight in weights.items()})
      except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"rounds.{name}.weights_file {path} holds no mixture ({error!r}): give a file that a mixture"
                          ' search wrote, {"weights": {ROW_SET: NUMBER, ...}}') from error
  return config


def schedule(config: ConfigDict) -> rounds_lib.Schedule:
  """The rounds of a run's ConfigDict, in the order of their names; row sets of weight 0 are left out."""
  found = []
  for name in sorted(config.rounds):
    fields = {key: value for key, value in config.rounds[name].to_dict().items() if key != "weights_file"}
    fields["weights"] = {row_set: weight for row_set, weight in fields["weights"].items() if weight}
    found.append(rounds_lib.Round(name=name, **fields))
  return rounds_lib.Schedule(found, batch_size=config.data.batch_size, context=config.data.context)


@dataclasses.dataclass(frozen=True)
class Program:
  """A config and a mesh, made executable.

  Attributes:
    model: shape of the decoder.
    ops: what computes its layers.
    plan: the rounds on the axis of steps.
    mesh: the devices.
    init: `init() -> state`, jitted; fresh train state, placed.
    begin_anew: `begin_anew(state) -> state`, jitted; parameters and optimizer of an earlier run, at step 0.
    train_step: `train_step(state, batch) -> (state, metrics)`, jitted, the state donated; see `make_train_step`.
    eval_step: `eval_step(params, batch) -> metrics`, jitted; see `make_eval_step`.
    abstract_state: the train state as `jax.ShapeDtypeStruct`s with their shardings.
    abstract_batch: a global batch, likewise.
  """

  model: model_lib.ModelConfig
  ops: model_lib.Kernels
  plan: rounds_lib.Schedule
  mesh: Mesh
  init: Callable
  begin_anew: Callable
  train_step: Callable
  eval_step: Callable
  abstract_state: dict
  abstract_batch: dict

  @property
  def batch_sharding(self) -> jax.sharding.NamedSharding:
    return sharding.batch_sharding(self.mesh)


def kernels_on(mesh: Mesh, model: model_lib.ModelConfig) -> model_lib.Kernels:
  """The model's kernels, each device running them on its own rows and heads.

  Raises:
    ConfigError: the model or its kernels do not go with the mesh.
  """
  if model.n_heads % mesh.shape["model"]:
    raise ConfigError(f"model.n_heads {model.n_heads} is not a multiple of mesh.model {mesh.shape['model']}")
  device = mesh.devices.flat[0]
  implementation = model.blocks
  if mesh.shape["model"] > 1:
    if implementation not in ("auto", "xla"):
      raise ConfigError(f"model.blocks {implementation!r} holds whole weights: with mesh.model > 1 use 'auto' or 'xla'")
    implementation = "xla"
  try:
    attention = kernels.choose_attention(model.attention, model.head_dim, device)
    blocks = kernels.choose_blocks(
        implementation, model.norm_eps, device, feature_major=attention.feature_major,
        over_devices=sharding.over_tokens(mesh),
    )  # fmt: skip
  except ValueError as error:
    raise ConfigError(f"model: {error}") from None
  _log.info("attention %s -> %s, blocks %s -> %s", model.attention, attention.name, model.blocks, blocks.name)
  run = sharding.shard_attention(attention.run, attention.feature_major, mesh)
  return model_lib.Kernels(dataclasses.replace(attention, run=run), blocks)


def rows_per_device(config: ConfigDict, mesh: Mesh) -> int:
  """Rows of a microbatch on one device.

  Raises:
    ConfigError: they do not divide evenly.
  """
  batch_size, places = config.data.batch_size, config.accumulation * sharding.row_places(mesh)
  if batch_size % places:
    raise ConfigError(
        f"data.batch_size {batch_size} does not divide into {config.accumulation} microbatches over"
        f" {places // config.accumulation} devices (mesh.data x mesh.fsdp): make it a multiple of {places}, change"
        " accumulation, or give more devices to mesh.model"
    )
  return batch_size // places


def make_program(config: ConfigDict, mesh: Mesh) -> Program:
  """Args: a run's config; the mesh (`bsm_jax.sharding.make_mesh`), of real devices or of a topology.

  Raises:
    ConfigError: settings that contradict each other.
  """
  batch_size, context = config.data.batch_size, config.data.context
  rows_per_device(config, mesh)
  model, plan = model_config(config), schedule(config)
  ops = kernels_on(mesh, model)
  apply = model_lib.make_apply(model, ops)
  optimizer = step_lib.make_optimizer(step_lib.OptimizerConfig(**config.optimizer.to_dict()))
  init = lambda: step_lib.init_state(model_lib.init_params(model, config.seed), optimizer)
  shapes = jax.eval_shape(init)
  state_shardings = sharding.tree_shardings(shapes, mesh)
  by_row = sharding.batch_sharding(mesh)
  placed = lambda shape, dtype, place: jax.ShapeDtypeStruct(shape, dtype, sharding=place)
  across = config.data.attend_across_documents
  train_step = step_lib.make_train_step(
      apply,
      optimizer,
      plan.learning_rate,
      n_row_sets=len(plan.row_sets),
      guard=step_lib.GuardConfig(**config.guard.to_dict()),
      accumulation=config.accumulation,
      attend_across_documents=across,
      gradient_shardings=sharding.moment_shardings(shapes["params"], mesh),
  )
  eval_step = step_lib.make_eval_step(apply, attend_across_documents=across)
  return Program(
      model=model,
      ops=ops,
      plan=plan,
      mesh=mesh,
      init=jax.jit(init, out_shardings=state_shardings),
      begin_anew=jax.jit(step_lib.begin_anew, donate_argnums=0, out_shardings=state_shardings),
      train_step=jax.jit(
          train_step, donate_argnums=0, out_shardings=(state_shardings, sharding.replicated(mesh))
      ),
      eval_step=jax.jit(eval_step, out_shardings=sharding.replicated(mesh)),
      abstract_state=jax.tree.map(lambda x, place: placed(x.shape, x.dtype, place), shapes, state_shardings),
      abstract_batch={
          "tokens": placed((batch_size, context), jnp.uint8, by_row),
          "row_set": placed((batch_size,), jnp.int32, by_row),
          "row": placed((batch_size,), jnp.int32, by_row),
          "stop": placed((batch_size,), jnp.bool_, by_row),
      },
  )
