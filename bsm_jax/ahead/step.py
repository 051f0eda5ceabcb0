"""Compiles the train step of a config for a TPU topology."""

import dataclasses
import re

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from bsm_jax import hardware, sharding, static_profile, topology
from bsm_jax.kernels import tpu
from bsm_jax.static_profile import hlo
from bsm_jax.static_profile.collectives import Collective, collectives
from bsm_jax.training import metrics
from bsm_jax.training import program as program_lib

GIB = 2**30


class DoesNotFitError(RuntimeError):
  """The step needs more memory than a device has. `needed` in bytes, None where the compiler did not say."""

  def __init__(self, needed: float | None, available: float):
    self.needed, self.available = needed, available
    need = "more" if needed is None else f"{needed / GIB:.2f} GiB"
    super().__init__(f"does not fit: needs {need} of {available / GIB:.2f} GiB HBM a device")


@dataclasses.dataclass(frozen=True)
class CompiledStep:
  """What one compilation of the train step says.

  Attributes:
    program: the config on the topology's mesh.
    executable: the compiled step.
    chip: the device it is for.
    profile: memory, seconds and ops; from XLA's estimates unless `replayed`.
    replayed: from the replayed schedule.
    communication: collectives of one step.
    rows: of a microbatch on one device.
    flops: analytic, of one step on one device, attention counted (causal, in full).
  """

  program: program_lib.Program
  executable: jax.stages.Compiled
  chip: hardware.Chip
  profile: static_profile.Profile
  replayed: bool
  communication: list[Collective]
  rows: int
  flops: tuple[float, float]

  @property
  def mfu(self) -> tuple[float, float]:
    """Of the static estimate: attention counted (causal, in full)."""
    return tuple(flops / self.profile.seconds / self.chip.peak_flops for flops in self.flops)

  @property
  def tokens_per_second(self) -> float:
    """Of one device, by the static estimate."""
    return self.program.plan.tokens_per_step / self.program.mesh.size / self.profile.seconds


def device_kind(mesh: Mesh) -> str:
  return mesh.devices.flat[0].device_kind


def with_rows(config: ConfigDict, mesh: Mesh, rows: int) -> ConfigDict:
  """A copy with the batch size that gives each device `rows` rows in a microbatch."""
  config = config.copy_and_resolve_references()
  config.data.batch_size = rows * config.accumulation * sharding.row_places(mesh)
  return config


def compile_step(
    config: ConfigDict,
    topology_name: str,
    *,
    num_slices: int = 1,
    rows: int | None = None,
    replay: bool = False,
    chip: hardware.Chip | None = None,
) -> CompiledStep:
  """Compiles the train step of a config for a topology.

  Args:
    config: a run's config.
    topology_name: see `bsm_jax.topology.devices`, like `num_slices`.
    num_slices: slices of the topology.
    rows: rows of a microbatch on one device; None takes `data.batch_size`.
    replay: estimate from the replayed schedule, for rows of one document each.
    chip: figures of the devices; by default those of their kind.

  Raises:
    ConfigError, TopologyError: see the message.
    DoesNotFitError: too large for a device's memory.
  """
  devices = topology.devices(topology_name, num_slices)
  chip = chip or hardware.chip_of(devices[0].device_kind)
  mesh = program_lib.make_mesh(config, devices)
  config = config if rows is None else with_rows(config, mesh, rows)
  rows = program_lib.rows_per_device(config, mesh)
  program = program_lib.make_program(config, mesh)
  lowered = program.train_step.lower(program.abstract_state, program.abstract_batch)
  scalars = {}
  if replay and program.ops.attention.name == "tpu":
    # The most that attention can cost: every row is one document.
    one_document = jnp.ones((rows, config.data.context), jnp.int32)
    scalars = tpu.scalars_of(one_document, device_kind(mesh))
  try:
    with topology.captured(lowered) as capture:
      profile = static_profile.profile_capture(capture, chip, replay=replay, scalars=scalars)
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise DoesNotFitError(needed_bytes(str(error)), chip.hbm_bytes) from error
  if profile.memory.total > chip.hbm_bytes:
    raise DoesNotFitError(profile.memory.total, chip.hbm_bytes)
  tokens = program.plan.tokens_per_step / mesh.size
  flops = lambda causal: tokens * metrics.flops_per_token(program.model, config.data.context, causal=causal)
  return CompiledStep(
      program=program,
      executable=capture.compiled,
      chip=chip,
      profile=profile,
      replayed=replay,
      communication=collectives(hlo.Module(hlo.text_of(capture.compiled)), mesh, chip),
      rows=rows,
      flops=(flops(True), flops(False)),
  )


def needed_bytes(message: str) -> float | None:
  """What libtpu's error says that the program would need."""
  match = re.search(r"Used ([\d.]+)([KMGT]?) of|\(([\d.]+)([KMGT])\) exceeds", message)
  if not match:
    return None
  number, unit = (match[1], match[2]) if match[1] else (match[3], match[4])
  return float(number) * 1024 ** " KMGT".index(unit or " ")
