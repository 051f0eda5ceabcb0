"""What a program costs on a TPU, estimated without one from the compiler's own schedule. See `estimate`."""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from bsm_jax import hardware, sharding, topology
from bsm_jax.static_profile.estimate import Memory, OpCost, Profile, memory_of, profile_capture
from bsm_jax.static_profile.report import grouped, table

__all__ = ["Memory", "OpCost", "Profile", "grouped", "memory_of", "profile", "profile_capture", "table"]


def profile(
    function: Callable,
    arguments: Sequence,
    topology_name: str = "v5e:2x2",
    *,
    scalars: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> Profile:
  """Compiles a function for a TPU that is not here and estimates what one call costs.

  Args:
    function: jitted or not.
    arguments: trees of `jax.ShapeDtypeStruct`; those without a sharding are put on one device of the topology.
    topology_name: see `bsm_jax.topology.devices`.
    scalars: for Pallas kernels, by name, the contents of their scalar-prefetch operands in order. Branches that depend
      on them are then replayed exactly; others are counted as executed and named in `Profile.warnings`. Operands that
      are constants of the program are found without this.

  Raises:
    TopologyError: see `bsm_jax.topology.devices`.
  """
  device = topology.devices(topology_name)[0]
  one = NamedSharding(sharding.make_mesh((1, 1, 1), [device]), PartitionSpec())
  placed = jax.tree.map(
      lambda x: x if getattr(x, "sharding", None) is not None else jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one),
      tuple(arguments),
  )
  lowered = (function if hasattr(function, "lower") else jax.jit(function)).lower(*placed)
  with topology.captured(lowered) as capture:
    return profile_capture(capture, hardware.chip_of(device.device_kind), scalars=scalars)
