"""A trained model, ready to be asked: parameters of a checkpoint on all devices, and what runs them."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh, NamedSharding
from ml_collections import ConfigDict

from bsm_jax import model as model_lib
from bsm_jax import sharding, tokenizer
from bsm_jax.inference.documents import InputError
from bsm_jax.training import checkpoint as checkpoint_lib
from bsm_jax.training import program as program_lib

# Tokens of a batch on one device, if nothing else is said: enough to keep it busy.
_TOKENS_PER_DEVICE = {"cpu": 1024}
_TOKENS_PER_ACCELERATOR = 65_536


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
  """Parameters and how to run them.

  Attributes:
    config: shape of the decoder.
    params: as of `bsm_jax.model.init_params`, on every device of the mesh.
    context: tokens that it was trained on at a time.
    mesh: the devices; rows of a batch are spread over all of them.
    attend_across_documents: whether it was trained to look from one document of a row at those before.
    name: where it comes from.
    step: of the checkpoint.
  """

  config: model_lib.ModelConfig
  params: dict
  context: int
  mesh: Mesh
  attend_across_documents: bool = False
  name: str = ""
  step: int = 0

  @property
  def places(self) -> int:
    """How many devices the rows of a batch are spread over."""
    return sharding.row_places(self.mesh)

  @property
  def by_row(self) -> NamedSharding:
    """Where arrays lie that have a row of the batch in their first axis."""
    return sharding.batch_sharding(self.mesh)

  @property
  def tokens_per_batch(self) -> int:
    """The usual size of a batch on these devices."""
    platform = self.mesh.devices.flat[0].platform
    return self.places * _TOKENS_PER_DEVICE.get(platform, _TOKENS_PER_ACCELERATOR)

  @functools.cached_property
  def compiled(self) -> dict[str, Callable]:
    """Jitted functions by name: whoever asks for one first puts it here, so that it is compiled once for the model."""
    return {}

  @functools.cached_property
  def params_sha256(self) -> str:
    """`params_digest` of the parameters."""
    return params_digest(self.params)

  @functools.cached_property
  def ops(self) -> model_lib.Kernels:
    """What computes the layers, on the devices of the mesh."""
    return program_lib.kernels_on(self.mesh, self.config)


def params_digest(params) -> str:
  """sha256 over the names, shapes and fp32 bytes of parameters, in the order of their paths: equal for equal ones."""
  found = hashlib.sha256()
  for path, leaf in sorted(
      (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
      for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]
  ):
    values = np.ascontiguousarray(jax.device_get(leaf), "<f4")
    found.update(f"{path} {values.shape}\n".encode())
    found.update(values.tobytes())
  return found.hexdigest()


def load(
    run: str, *, step: int | None = None, dtype: str | None = None, devices: Sequence[jax.Device] | None = None
) -> Model:
  """The model of a run directory of `bsm_jax.train`.

  Args:
    run: the directory, local or gs://.
    step: of the checkpoint; the newest if not given.
    dtype: of activations and matrix products; if not given fp32 on CPUs, which gain nothing from less, and what the
      model was trained in elsewhere.
    devices: all of this process by default.

  Raises:
    InputError: it is no run directory, or of another vocabulary.
    CheckpointError: there is no such checkpoint.
    ConfigError: the model does not run on these devices.
  """
  settings = epath.Path(run) / "config.json"
  if not settings.exists():
    raise InputError(
        f"{run} is no run directory (it has no config.json): give a --workdir of bsm_jax.train, or make one from a"
        " Hugging Face folder with `python -m bsm_jax.torch_export --from_torch`"
    )
  config = ConfigDict(json.loads(settings.read_text()))
  devices = list(devices or jax.local_devices())
  config.model.update({"remat": "none", "scan": False})  # They matter to gradients only.
  if dtype or devices[0].platform == "cpu":
    config.model.dtype = dtype or "float32"
  shape = program_lib.model_config(config)
  mesh = sharding.make_mesh((len(devices), 1, 1), devices, slices=1)
  checkpoints = checkpoint_lib.Checkpointer(epath.Path(run) / "checkpoints")
  step = checkpoints.latest_step() if step is None else step
  meta = checkpoints.meta(step)
  if meta["vocabulary_hash"] != tokenizer.vocabulary_hash():
    raise InputError(
        f"{run} was trained with another vocabulary ({meta['vocabulary_hash'][:12]}, this code has"
        f" {tokenizer.vocabulary_hash()[:12]}): its ids would mean other letters. Use the version of the code that"
        " trained it."
    )
  everywhere = sharding.replicated(mesh)
  abstract = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32, sharding=everywhere),
      jax.eval_shape(lambda: model_lib.init_params(shape, 0)),
  )
  params = checkpoints.restore_part({"params": abstract}, step)["params"]
  checkpoints.close()
  across = config.data.attend_across_documents
  return Model(shape, params, config.data.context, mesh, across, name=str(run), step=step)
