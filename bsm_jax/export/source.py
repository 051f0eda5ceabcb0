"""What is exported: the parameters of one checkpoint, without the optimizer, read whole or one part at a time."""

import jax
from etils import epath
from jax.sharding import SingleDeviceSharding
from ml_collections import ConfigDict

from bsm_jax import model as model_lib
from bsm_jax import tokenizer
from bsm_jax.export import llama
from bsm_jax.training import checkpoint as checkpoint_lib
from bsm_jax.training import program as program_lib


class SourceError(ValueError):
  """A checkpoint that cannot be exported; the message says why, and the remedy."""


class Source:
  """The parameters of one checkpoint, read in parts.

  Attributes:
    step, meta: of the checkpoint.
    model: its shape.
    device: the CPU, where arrays are read to.
  """

  def __init__(self, run: str, step: int | None):
    """Args: the run directory; the step, None for the newest.

    Raises:
      CheckpointError: there is no such checkpoint.
      SourceError: it is of another vocabulary.
    """
    self._checkpointer = checkpoint_lib.Checkpointer(epath.Path(run) / "checkpoints")
    self.step = self._checkpointer.latest_step() if step is None else step
    self.meta = self._checkpointer.meta(self.step)
    if self.meta["vocabulary_hash"] != tokenizer.vocabulary_hash():
      raise SourceError(
          f"the checkpoint of step {self.step} in {run} has another vocabulary ({self.meta['vocabulary_hash']}) than"
          f" this version of bsm_jax ({tokenizer.vocabulary_hash()}): export it with the version that trained it"
          f" ({self.meta['version']})"
      )
    self.model = program_lib.model_config(ConfigDict(self.meta["config"]))
    self.device = jax.local_devices(backend="cpu")[0]
    here = SingleDeviceSharding(self.device)
    shapes = jax.eval_shape(lambda: model_lib.init_params(self.model, 0))
    self._abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), shapes)

  def part(self, name: str) -> dict:
    """One of `llama.parts`, as `llama.part_of` gives it."""
    abstract = {"params": llama.part_of(self._abstract, name)}
    return self._checkpointer.restore_part(abstract, self.step)["params"]

  def params(self) -> dict:
    """All parameters."""
    return self._checkpointer.restore_part({"params": self._abstract}, self.step)["params"]

  def close(self) -> None:
    self._checkpointer.close()
