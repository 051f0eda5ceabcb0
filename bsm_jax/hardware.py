"""What a device can do: peaks, memory and interconnect of the chips that this package knows, one `Chip` each.

A figure is that of one JAX device. On v5p a device is a chip whose two TensorCores work as one; on TPU7x a chip is two
devices, and each has half of it. Sources: Google's Cloud TPU system architecture pages and NVIDIA's data sheets.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
  """One generation.

  Attributes:
    name: what people call it.
    device_kinds: a device is of this generation if its `device_kind` contains one of these.
    peak_flops: dense bf16 FLOP/s.
    hbm_bytes: memory that a program may use, in bytes (TPUs: what the compiler allows; the sheet's figure is larger).
    hbm_bandwidth: bytes/s.
    clock: cycles/s of a TensorCore, 0 for GPUs. A v5e's peak is 4 matrix units x 128 x 128 x 2 FLOP at this clock.
    ici_link_bandwidth: bytes/s of one link of the interconnect in one direction, 0 for GPUs.
    cores: TensorCores of a device.
    dcn_bandwidth: bytes/s between slices, a device's share of its host's network; 0 for GPUs.
  """

  name: str
  device_kinds: tuple[str, ...]
  peak_flops: float
  hbm_bytes: float
  hbm_bandwidth: float
  clock: float = 0.0
  ici_link_bandwidth: float = 0.0
  dcn_bandwidth: float = 0.0
  cores: int = 1


GIB = 2.0**30

# Searched in this order: "TPU v5" is a part of "TPU v5 lite".
CHIPS = (
    Chip("v5e", ("TPU v5 lite", "TPU v5e"), 197e12, 15.75 * GIB, 819e9, 1.503e9, 50e9, 3.1e9),
    Chip("v5p", ("TPU v5p", "TPU v5"), 459e12, 95.74 * GIB, 2765e9, 1.75e9, 100e9, 6.2e9, cores=2),
    Chip("v6e", ("TPU v6 lite", "TPU v6e"), 918e12, 31.25 * GIB, 1640e9, 1.75e9, 100e9, 12.5e9),
    Chip("TPU7x", ("TPU7x",), 1153.5e12, 94.75 * GIB, 3690e9, 2.2e9, 100e9, 6.2e9),
    Chip("H200", ("H200",), 989e12, 141e9, 4800e9),
    Chip("H100", ("H100",), 989e12, 80e9, 3350e9),
    Chip("A100", ("A100",), 312e12, 80e9, 2039e9),
)


def find_chip(device_kind: str) -> Chip | None:
  """The chip of a device's `device_kind`; None for one that is not in `CHIPS` (a CPU)."""
  for chip in CHIPS:
    if any(kind in device_kind for kind in chip.device_kinds):
      return chip
  return None


def chip_of(device_kind: str) -> Chip:
  """As `find_chip`.

  Raises:
    ValueError: not in `CHIPS`.
  """
  chip = find_chip(device_kind)
  if chip is None:
    known = ", ".join(chip.name for chip in CHIPS)
    raise ValueError(f"no figures for {device_kind!r}, only for {known}: add it to bsm_jax.hardware.CHIPS")
  return chip
