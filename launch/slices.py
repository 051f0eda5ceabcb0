"""TPU slices that Cloud TPU and GKE offer: one table for `launch.tpu_pod` and `launch.gke_jobset`.

A slice is written as `bsm_jax.compile_ahead` writes it, generation and shape in chips: "v5e:16x16". Shapes, names and
runtime versions are those of the Cloud TPU documentation (cloud.google.com/tpu/docs: v4, v5e, v5p, v6e, runtimes) and
of "Plan TPUs in GKE" (cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus).
"""

import dataclasses
import math

_SHAPES_2D = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_SHAPES_3D = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16")


@dataclasses.dataclass(frozen=True)
class Generation:
  """A generation of TPUs under its names.

  Attributes:
    shapes: of each size the one that an accelerator type stands for.
    accelerator_type: prefix of Cloud TPU's accelerator type; empty where only GKE offers the generation.
    units_per_chip: what an accelerator type counts: TensorCores (2 a chip) or chips.
    runtime_version: Cloud TPU's image of the hosts.
    gke_accelerator: value of the node label `cloud.google.com/gke-tpu-accelerator`.
  """

  shapes: tuple[str, ...]
  accelerator_type: str
  units_per_chip: int
  runtime_version: str
  gke_accelerator: str


GENERATIONS = {
    "v4": Generation(_SHAPES_3D, "v4", 2, "tpu-ubuntu2204-base", "tpu-v4-podslice"),
    "v5e": Generation(_SHAPES_2D, "v5litepod", 1, "v2-alpha-tpuv5-lite", "tpu-v5-lite-podslice"),
    "v5p": Generation((*_SHAPES_3D, "16x16x16"), "v5p", 2, "v2-alpha-tpuv5", "tpu-v5p-slice"),
    "v6e": Generation(_SHAPES_2D, "v6e", 1, "v2-alpha-tpuv6e", "tpu-v6e-slice"),
    "tpu7x": Generation(_SHAPES_3D, "", 1, "", "tpu7x"),
}


@dataclasses.dataclass(frozen=True)
class Slice:
  """A slice of a known generation and shape."""

  generation: Generation
  shape: str

  @property
  def chips(self) -> int:
    return math.prod(map(int, self.shape.split("x")))

  @property
  def accelerator_type(self) -> str:
    """Cloud TPU's name, such as "v5litepod-256"; empty where only GKE offers the generation."""
    prefix = self.generation.accelerator_type
    return prefix and f"{prefix}-{self.chips * self.generation.units_per_chip}"


def parse_slice(text: str) -> Slice:
  """The slice that "v5e:16x16" names.

  Raises:
    ValueError: no such generation or shape; the message lists those there are.
  """
  name, _, shape = text.partition(":")
  if name not in GENERATIONS:
    raise ValueError(f"{text!r} names no TPU generation; give GENERATION:SHAPE, of {', '.join(GENERATIONS)}")
  generation = GENERATIONS[name]
  if shape not in generation.shapes:
    raise ValueError(f"{text!r} is no shape of {name}; there are {', '.join(generation.shapes)}")
  return Slice(generation, shape)
