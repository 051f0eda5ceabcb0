"""What the launchers have in common: the arguments of a training run, checked before anything is created."""

import argparse
import pathlib
import re
from collections.abc import Callable, Sequence

from launch.slices import Slice, parse_slice

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Set by the launchers; a second value in the arguments after `--` would win without a word.
_OURS = ("--config", "--workdir", "--multihost", "--coordinator", "--num_hosts", "--host", "--config.data.root")


def matching(pattern: str, expected: str) -> Callable[[str], str]:
  """An argparse type: text that the whole `pattern` matches; the error says what was `expected`."""

  def check(text: str) -> str:
    if not re.fullmatch(pattern, text):
      raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return text

  return check


def count(text: str) -> int:
  """An argparse type: a number of things, 1 or more."""
  if not re.fullmatch(r"[1-9]\d{0,5}", text):
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
  return int(text)


# RFC 1035, which Cloud TPU asks for; the length leaves room for what is appended to it.
resource_name = matching(
    r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", "a name: at most 40 of a-z, 0-9 and '-', a letter first, no '-' at the end"
)
# Hosts come and go with preemption, and their disks with them.
bucket_path = matching(
    r"gs://[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9](/[^\s/]+)+/?",
    "a folder in a bucket, gs://BUCKET/FOLDER (a host's disk is lost with the host)",
)
rows_path = matching(
    r"gs://[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9](/[^\s/]+)+/?|/\S+",
    "the rows of a build that every host can read: gs://BUCKET/FOLDER, or the absolute path of a network file system",
)


def tpu_slice(text: str) -> Slice:
  """An argparse type: a slice as "v5e:16x16"."""
  try:
    return parse_slice(text)
  except ValueError as error:
    raise argparse.ArgumentTypeError(str(error)) from None


def config_path(text: str) -> str:
  """An argparse type: a config of the checkout, which is what the hosts will find under the same path."""
  path = (ROOT / text.split(":")[0]).resolve()
  if not path.is_relative_to(ROOT) or path.suffix != ".py" or not path.is_file():
    raise argparse.ArgumentTypeError(f"{text!r} is no config of this checkout, such as configs/bsm_110m.py")
  return text


def split_at_dashes(argv: Sequence[str]) -> tuple[list[str], list[str]]:
  """A launcher's own arguments, and those behind `--`, which are train's."""
  at = argv.index("--") if "--" in argv else len(argv)
  return list(argv[:at]), list(argv[at + 1 :])


def add_training(parser: argparse.ArgumentParser) -> None:
  group = parser.add_argument_group("training (more arguments of bsm_jax.train may follow after --)")
  group.add_argument("--config", type=config_path, required=True, help="config of the run, such as configs/bsm_110m.py")
  group.add_argument("--workdir", type=bucket_path, required=True, help="run directory, gs://BUCKET/FOLDER; continued")
  group.add_argument("--rows", type=rows_path, required=True, help="the `rows` folder of a build: gs://, or a mount")


def training_arguments(options: argparse.Namespace, extra: Sequence[str]) -> list[str]:
  """The arguments of `python -m bsm_jax.train`.

  Raises:
    ValueError: `extra` holds what is no flag, or sets what the launcher sets.
  """
  for argument in extra:
    name = argument.split("=")[0]
    if not re.fullmatch(r"--[a-z]\w*(\.\w+)*(=.*)?", argument, re.DOTALL):
      raise ValueError(f"{argument!r} after -- is no argument of bsm_jax.train; write --config.KEY=VALUE")
    if name in _OURS:
      raise ValueError(f"{name} after -- would replace what this launcher sets; give --config, --workdir or --rows")
  return [
      "--multihost", f"--config={options.config}", f"--config.data.root={options.rows}", f"--workdir={options.workdir}",
      *extra,
  ]
