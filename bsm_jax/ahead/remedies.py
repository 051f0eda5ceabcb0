"""What to do when a train step does not fit: changes of the config, each of them tried."""

import dataclasses
from collections.abc import Callable

from jax.sharding import Mesh
from ml_collections import ConfigDict

from bsm_jax import hardware, topology
from bsm_jax.ahead.step import DoesNotFitError, compile_step, with_rows
from bsm_jax.training.program import ConfigError, make_mesh, rows_per_device


def remedies(config: ConfigDict, mesh: Mesh, *, rows_flag: bool) -> dict[str, dict]:
  """Changes that lower the memory a device needs: flags to give -> settings of the config.

  Args:
    config, mesh: what does not fit.
    rows_flag: the batch was given by `--rows_per_device`, and has to be changed by it.
  """
  found, rows = {}, rows_per_device(config, mesh)
  for policy in {"none": ("dots", "full"), "dots": ("full",)}.get(config.model.remat, ()):
    found[f"--config.model.remat={policy}"] = {"model.remat": policy}
  if rows % 2 == 0:
    halved, accumulation = config.data.batch_size // 2, 2 * config.accumulation
    fewer = f"--rows_per_device={rows // 2}" if rows_flag else f"--config.data.batch_size={halved}"
    more = f"--config.accumulation={accumulation}" + (f" {fewer}" if rows_flag else "")
    found |= {more: {"accumulation": accumulation}, fewer: {"data.batch_size": halved}}
  if mesh.shape["data"] % 4 == 0:
    fsdp = 4 * mesh.shape["fsdp"]
    found[f"--config.mesh.data=-1 --config.mesh.fsdp={fsdp}"] = {"mesh.data": -1, "mesh.fsdp": fsdp}
  return found


@dataclasses.dataclass(frozen=True)
class Remedy:
  """A change that was tried. `needed`: bytes a device, None if unknown. `tokens_per_second`: 0 if it does not fit."""

  flags: str
  needed: float | None
  tokens_per_second: float


def try_remedies(
    config: ConfigDict,
    topology_name: str,
    *,
    num_slices: int = 1,
    rows: int | None = None,
    chip: hardware.Chip | None = None,
    progress: Callable[[str], None] = print,
) -> list[Remedy]:
  """Compiles the step with each of `remedies`.

  Args:
    config, topology_name, num_slices, rows, chip: see `compile_step`.
    progress: called with a line before each compilation.

  Returns:
    what was tried; what fits comes first, the fastest by the static estimate before the others.
  """
  mesh = make_mesh(config, topology.devices(topology_name, num_slices))
  config = config.copy_and_resolve_references() if rows is None else with_rows(config, mesh, rows)
  tried = []
  for text, settings in remedies(config, mesh, rows_flag=rows is not None).items():
    progress(f"trying {text}")
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict(settings)
    try:
      result = compile_step(changed, topology_name, num_slices=num_slices, replay=True, chip=chip)
      tried.append(Remedy(text, result.profile.memory.total, result.tokens_per_second))
    except DoesNotFitError as error:
      tried.append(Remedy(text, error.needed, 0.0))
    except ConfigError as error:
      progress(f"  not possible: {error}")
  return sorted(tried, key=lambda r: (-r.tokens_per_second, r.needed or float("inf")))
