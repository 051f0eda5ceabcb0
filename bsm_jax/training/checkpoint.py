"""Checkpoints: the only file that knows Orbax.

A checkpoint is a composite of `state` (step, params, opt_state), `data` (JSON: where the input stands) and `meta`
(JSON: config, vocabulary hash, round, tokens seen). Orbax writes into a temporary folder and renames it when all is
there, so a run killed at any moment finds its previous checkpoint.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """What a checkpoint holds; see the module's docstring."""

  step: int
  state: Any
  data: dict
  meta: dict


class CheckpointError(ValueError):
  """A checkpoint that cannot be used; the message names it and the remedy."""


@contextlib.contextmanager
def _only_errors():
  """Keeps Orbax from warning that a folder which is opened to be read cannot be written."""
  logger = logging.getLogger("absl")
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    yield
  finally:
    logger.setLevel(level)


class Checkpointer:
  """Saves and restores the checkpoints of one run directory."""

  def __init__(
      self,
      folder: str | epath.Path,
      *,
      every_steps: int | None = None,
      keep: int = 2,
      keep_steps: Sequence[int] = (),
  ):
    """Opens the folder of a run's checkpoints, made if absent.

    Args:
      folder: local or gs://.
      every_steps: steps between checkpoints; None to read only, which leaves a run that is writing there undisturbed.
      keep: how many of the newest to keep.
      keep_steps: steps whose checkpoints are kept for good.
    """
    self.folder = epath.Path(folder)
    if every_steps is None:
      options = ocp.CheckpointManagerOptions(read_only=True, save_interval_steps=0, create=False)
    else:
      kept = [policies.LatestN(keep), policies.CustomSteps(keep_steps)]
      options = ocp.CheckpointManagerOptions(
          save_interval_steps=every_steps,
          preservation_policy=policies.AnyPreservationPolicy(kept),
          enable_async_checkpointing=True,
          create=True,
          # What a kill in the middle of a write left behind would fill the disk in time.
          cleanup_tmp_directories=True,
      )
    # Orbax wants absolute paths; those of buckets are, and `resolve` would take them for names of local folders.
    absolute = self.folder if "://" in str(folder) else self.folder.resolve()
    with _only_errors():
      self._manager = ocp.CheckpointManager(absolute, options=options)

  def due(self, step: int) -> bool:
    """Whether `save` would write a checkpoint for this step."""
    return self._manager.should_save(step)

  def save(self, checkpoint: Checkpoint, *, force: bool = False) -> bool:
    """Hands the checkpoint to a background writer if one is due (or forced); call it every step.

    Returns:
      whether a checkpoint is being written.

    Raises:
      CheckpointError: it, or the one before it, cannot be written.
    """
    if force and self._manager.latest_step() == checkpoint.step:
      return False
    items = ocp.args.Composite(
        state=ocp.args.StandardSave(checkpoint.state),
        data=ocp.args.JsonSave(checkpoint.data),
        meta=ocp.args.JsonSave(checkpoint.meta),
    )
    with self._writing():
      return self._manager.save(checkpoint.step, args=items, force=force)

  @contextlib.contextmanager
  def _writing(self):
    """Turns whatever the storage says into a CheckpointError."""
    try:
      yield
    except Exception as error:
      complete = self._manager.all_steps(read=True)
      newest = f"the newest complete one is of step {max(complete)}" if complete else "there is no complete one yet"
      raise CheckpointError(
          f"a checkpoint cannot be written to {self.folder}: {error}\nNothing before it is lost: {newest}. Free space"
          " or mend the storage, then run the same command."
      ) from error

  def latest_step(self) -> int | None:
    """Step of the newest complete checkpoint."""
    return self._manager.latest_step()

  def meta(self, step: int | None = None) -> dict:
    """The JSON `meta` of a checkpoint, by default the newest."""
    step = self._require(step)
    return self._read(step, ocp.args.Composite(meta=ocp.args.JsonRestore())).meta

  def end_of_round(self, name: str) -> int:
    """Step of the last checkpoint of a round.

    Raises:
      CheckpointError: there is none.
    """
    rounds = {step: self.meta(step)["round"] for step in self._manager.all_steps()}
    steps = [step for step, of_step in rounds.items() if of_step == name]
    if not steps:
      there = ", ".join(f"{step} ({of_step})" for step, of_step in sorted(rounds.items())) or "none"
      raise CheckpointError(f"no checkpoint of round {name!r} in {self.folder}; there are: {there}")
    return max(steps)

  def _read(self, step: int, items: ocp.args.Composite):
    with self._reading(step):
      return self._manager.restore(step, args=items)

  @contextlib.contextmanager
  def _reading(self, step: int):
    """Turns whatever the storage says into a CheckpointError."""
    try:
      yield
    except Exception as error:
      others = ", ".join(str(s) for s in self._manager.all_steps() if s != step) or "none"
      raise CheckpointError(
          f"the checkpoint of step {step} in {self.folder} cannot be read: {error}\nMove its folder away to continue"
          f" from an older one (steps: {others})."
      ) from error

  def restore(self, abstract_state, step: int | None = None) -> Checkpoint:
    """A checkpoint, by default the newest, laid out as `abstract_state` (ShapeDtypeStructs with shardings) says.

    Raises:
      CheckpointError: there is none, or it cannot be read.
    """
    step = self._require(step)
    items = ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract_state), data=ocp.args.JsonRestore(), meta=ocp.args.JsonRestore()
    )
    restored = self._read(step, items)
    return Checkpoint(step, restored.state, restored.data, restored.meta)

  def restore_part(self, abstract, step: int | None = None):
    """What `abstract` names of a checkpoint's state, and nothing else of it in memory: `{"params": ...}`, or less.

    Args:
      abstract: a part of the state's tree, of ShapeDtypeStructs with shardings.
      step: of the checkpoint; by default the newest.

    Raises:
      CheckpointError: there is none, or it cannot be read.
    """
    step = self._require(step)
    wanted = ocp.args.PyTreeRestore(
        item=abstract, restore_args=ocp.checkpoint_utils.construct_restore_args(abstract), partial_restore=True
    )
    with self._reading(step), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
      return reader.restore(self._manager.directory / str(step) / "state", args=wanted)

  def wait(self) -> None:
    """Blocks until everything handed to `save` is on disk. Raises CheckpointError if it cannot be."""
    with self._writing():
      self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for the background writer and stops it. Raises CheckpointError if it could not write."""
    with self._writing():
      self._manager.wait_until_finished()
      self._manager.close()

  def _require(self, step: int | None) -> int:
    steps = self._manager.all_steps()
    if not steps:
      raise CheckpointError(f"no complete checkpoint in {self.folder}")
    if step is not None and step not in steps:
      there = ", ".join(str(s) for s in sorted(steps))
      raise CheckpointError(f"no complete checkpoint of step {step} in {self.folder}; there are: {there}")
    return max(steps) if step is None else step
