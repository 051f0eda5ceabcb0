"""A compiled train step as a file: compiled where there is no TPU, loaded where there are some.

One line of JSON, which says what it was compiled for and with, and the executable as
`jax.experimental.serialize_executable` writes it. That format holds a pickle: load only files of your own.
"""

import json
import os

import jax
from etils import epath
from jax.experimental import serialize_executable

from bsm_jax.ahead.step import device_kind
from bsm_jax.training.program import Program


class ExecutableError(ValueError):
  """A file that holds no executable for this program here; the message says why."""


def _signature(program: Program) -> dict:
  """What has to be the same where the file is loaded."""
  arguments = jax.tree_util.tree_leaves_with_path((program.abstract_state, program.abstract_batch))
  line = lambda path, x: f"{jax.tree_util.keystr(path)} {x.dtype}{list(x.shape)} {x.sharding.spec}"
  return {
      "jax": jax.__version__,
      "device_kind": device_kind(program.mesh),
      "mesh": dict(program.mesh.shape),
      "model": repr(program.model),
      "arguments": [line(path, x) for path, x in arguments],
  }


def save(path: str | os.PathLike, executable: jax.stages.Compiled, program: Program) -> None:
  """Writes the compiled train step of a program; the file appears whole or not at all."""
  payload, _, _ = serialize_executable.serialize(executable)
  path = epath.Path(path)
  partial = path.with_name(path.name + ".partial")
  try:
    partial.write_bytes(json.dumps(_signature(program)).encode() + b"\n" + payload)
    partial.replace(path)
  finally:
    partial.unlink(missing_ok=True)


def load(path: str | os.PathLike, program: Program) -> jax.stages.Compiled:
  """The train step of `save`, to be called like `program.train_step`.

  Args:
    path: the file.
    program: of the same config, on a mesh of as many real devices of the same kind.

  Raises:
    ExecutableError: the file was written for something else.
  """
  header, _, payload = epath.Path(path).read_bytes().partition(b"\n")
  try:
    saved = json.loads(header)
  except ValueError as error:
    raise ExecutableError(f"{path} holds no compiled train step") from error
  here = _signature(program)
  differences = [
      f"  {key}: {saved.get(key)!r} in the file, {here[key]!r} here" for key in here if saved.get(key) != here[key]
  ]
  if differences:
    raise ExecutableError("\n".join([f"{path} was compiled for something else; compile it again:", *differences]))
  inputs = jax.tree.structure(((program.abstract_state, program.abstract_batch), {}))
  outputs = jax.tree.structure(jax.eval_shape(program.train_step, program.abstract_state, program.abstract_batch))
  return serialize_executable.deserialize_and_load(
      payload, inputs, outputs, execution_devices=list(program.mesh.devices.flat)
  )
