"""How a run begins: at its own checkpoint, if that means the same under the present config, or at another run's end."""

import logging
from collections.abc import Callable, Sequence

from etils import epath

from bsm_jax.training import checkpoint as checkpoint_lib
from bsm_jax.training import program as program_lib
from bsm_jax.training.program import ConfigError

_log = logging.getLogger("bsm_jax")

# Settings that say how a run is computed, not what.
_MAY_CHANGE = (
    "data.root", "data.prefetch", "data.stall_seconds", "model.attention", "model.blocks", "model.scan", "model.remat",
)  # fmt: skip


def check_resume(meta: dict, current: dict) -> None:
  """Refuses to continue a run whose checkpoint means something else under the present config.

  Rounds that have not begun may be changed, added or left out.

  Args:
    meta: of the checkpoint.
    current: the present config.

  Raises:
    ConfigError: they differ; the message holds every difference.
  """
  begun = lambda config: config | {"rounds": {n: r for n, r in config["rounds"].items() if n <= meta["round"]}}
  differences = _differences(begun(meta["config"]), begun(current), ("model", "data", "rounds", "optimizer", "seed"))
  if differences:
    raise ConfigError(
        f"the run directory holds a checkpoint of another config:\n{differences}\nUse another --workdir, or the"
        " settings of the checkpoint."
    )


def _differences(saved: dict, current: dict, keys: Sequence[str]) -> str:
  """What two configs do not have in common under some keys, a line each."""
  lines = []
  for key in keys:
    before, now = (_flatten(config.get(key), key) for config in (saved, current))
    for name in sorted(before.keys() | now.keys()):
      if name not in _MAY_CHANGE and before.get(name) != now.get(name):
        lines.append(f"  {name}: {before.get(name)!r} in the checkpoint, {now.get(name)!r} now")
  return "\n".join(lines)


def start_from(place: str, settings: dict, program: program_lib.Program) -> tuple[Callable[[], dict], dict]:
  """The end of an earlier run, or of one of its rounds, as the beginning of another.

  Args:
    place: RUN or RUN@ROUND.
    settings: the config of the run that begins.
    program: of the run that begins.

  Returns:
    a function that gives the state to begin with, and the rows that were drawn from each row set until then.

  Raises:
    ConfigError: it is a run of another model.
    CheckpointError: there is no such checkpoint.
  """
  folder, _, round_name = place.partition("@")
  source = checkpoint_lib.Checkpointer(epath.Path(folder) / "checkpoints")
  step = source.end_of_round(round_name) if round_name else None
  meta = source.meta(step)
  if differences := _differences(meta["config"], settings, ("model",)):
    raise ConfigError(f"init_from {place} is a run of another model:\n{differences}")

  def first() -> dict:
    restored = source.restore(program.abstract_state, step)
    _log.info("starting from step %d of %s", restored.step, folder)
    return program.begin_anew(restored.state)

  return first, meta["rows"]


def _flatten(value, prefix: str) -> dict:
  if not isinstance(value, dict):
    return {prefix: value}
  return {name: leaf for key, part in value.items() for name, leaf in _flatten(part, f"{prefix}.{key}").items()}
