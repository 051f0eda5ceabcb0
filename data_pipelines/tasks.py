"""Work in tasks: functions that write whole folders, run in this process or on a Beam runner, and never run twice.

A task is a top-level function and its arguments. What it writes depends on them only; its folder is named by their
hash. It writes into a folder of its own, which is renamed when it is whole, so that a finished task stays finished
whatever stops the build, and a second run of the same build goes on behind the last finished one. Tasks of one stage
know nothing of each other: their number of workers, order and machine change no byte.

On a runner with several machines the work folder must be on a file system that all of them mount.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import pickle
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tqdm

from data_pipelines.errors import InputError
from data_pipelines.pack import BuildError

IN_PROCESS = "in_process"
_DONE = "done.json"


@dataclasses.dataclass(frozen=True)
class Task:
  """A call that writes a folder.

  Attributes:
    function: `function(folder, **arguments)`, of module level; it fills the folder, which exists and is empty, and
      may return a dictionary for `result`.
    arguments: values that JSON can hold; folders of earlier tasks as text.
    label: for progress and errors.
  """

  function: Callable[..., Mapping | None]
  arguments: Mapping[str, Any]
  label: str = ""

  @property
  def key(self) -> str:
    """The folder's name: which function and which arguments."""
    text = json.dumps([self.function.__module__, self.function.__qualname__, self.arguments], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def result(folder: str | os.PathLike) -> dict:
  """What the task that wrote a folder returned."""
  return json.loads((pathlib.Path(folder) / _DONE).read_text())


@dataclasses.dataclass(frozen=True)
class Workers:
  """Runs tasks.

  Attributes:
    work: where their folders go.
    runner: `in_process`, or the name of a Beam runner (`DirectRunner`, `FlinkRunner`, `SparkRunner`, `DataflowRunner`,
      or a class with its module, such as `apache_beam.runners.dask.dask_runner.DaskRunner`).
    beam_options: flags of the runner.
  """

  work: pathlib.Path
  runner: str = IN_PROCESS
  beam_options: Sequence[str] = ()

  def run(self, stage: str, tasks: Sequence[Task]) -> list[pathlib.Path]:
    """Runs the tasks that have not been finished and returns every task's folder, in their order.

    Raises:
      InputError, BuildError: of the first task, in their order, that raised one; the others are finished first.
      BuildError: the runner itself failed.
    """
    root = self.work.absolute() / stage  # tasks may run in other processes, with another current folder
    root.mkdir(parents=True, exist_ok=True)
    folders = [root / task.key for task in tasks]
    open_tasks = [task for task, folder in zip(tasks, folders) if not folder.exists()]
    if self.runner == IN_PROCESS or len(open_tasks) == 1:  # a pipeline for one task gains nothing
      progress = tqdm.tqdm(open_tasks, desc=stage, unit=" tasks", leave=False, disable=None)
      for task in progress:
        progress.set_postfix_str(task.label)
        perform(task, root)
    elif open_tasks:
      print(f"{stage}: {len(open_tasks):,} of {len(tasks):,} tasks on {self.runner.rpartition('.')[2]}", flush=True)
      self._run_beam(open_tasks, root)
    return folders

  def _run_beam(self, tasks: Sequence[Task], root: pathlib.Path) -> None:
    try:
      import apache_beam as beam
      from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
      raise BuildError(
          f"--runner={self.runner} needs Apache Beam. Install it (pip install 'bsm_jax[data]'), or leave --runner out"
          " to run in this process."
      ) from None
    for left in root.glob("*.error"):
      left.unlink()
    try:
      with beam.Pipeline(runner=self.runner, options=PipelineOptions(list(self.beam_options))) as pipeline:
        # Pickled here: Beam's own pickling of functions would depend on the module that was started.
        calls = pipeline | beam.Create([pickle.dumps((task, str(root))) for task in tasks])
        _ = calls | beam.Reshuffle() | beam.Map(_perform_pickled)
    except (ValueError, RuntimeError, ImportError, OSError) as error:
      remedy = "Finished tasks are kept: run the same command again."
      raise BuildError(f"{self.runner} stopped: {error}. {remedy}") from error
    for task in tasks:
      if (failed := root / f"{task.key}.error").exists():
        error = pickle.loads(failed.read_bytes())
        failed.unlink()
        raise error
      if not (root / task.key).exists():
        raise BuildError(
            f"{self.runner}: task {task.label} of {root.name} left nothing under {root}. All workers must mount this"
            " folder at the same path."
        )


def perform(task: Task, root: pathlib.Path) -> None:
  """Runs one task; its folder appears under `root` when it is whole."""
  folder = root / f".{task.key}-{uuid.uuid4().hex[:8]}"
  folder.mkdir()
  try:
    returned = task.function(folder, **task.arguments)
    (folder / _DONE).write_text(json.dumps(dict(returned or {})))
    try:
      os.rename(folder, root / task.key)
    except OSError:
      if not (root / task.key).exists():  # else another worker was first: a runner may run a task twice
        raise
  finally:
    shutil.rmtree(folder, ignore_errors=True)


def _perform_pickled(call: bytes) -> None:
  task, root = pickle.loads(call)
  try:
    perform(task, pathlib.Path(root))
  except (InputError, BuildError) as error:
    # Handed to the driver: raised here, the runner would try again and wrap the message in its own.
    path = pathlib.Path(root) / f"{task.key}.error"
    path.with_suffix(".tmp").write_bytes(pickle.dumps(error))
    os.rename(path.with_suffix(".tmp"), path)
