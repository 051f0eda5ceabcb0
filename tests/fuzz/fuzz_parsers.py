"""Coverage-guided fuzzing of the parsers with atheris (libFuzzer); run by hand.

  python -m tests.fuzz.fuzz_parsers --seconds=60 --work=DIR                  # all targets, one after the other
  python -m tests.fuzz.fuzz_parsers --targets=genbank,gff3 --seconds=600 --work=DIR --real=FOLDER
  python -m tests.fuzz.fuzz_parsers --targets=genbank --replay=DIR/crashes/genbank/FILE

Corpora grow in DIR/corpus/TARGET from run to run. What breaks a target is kept in DIR/crashes/TARGET, one file for each
place in the code that it breaks at, with the traceback beside it. `--real` adds beginnings of real files in a folder.
"""

import gzip
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import traceback

from absl import app, flags

_SLOW_SECONDS = 10  # An input of at most _LONGEST bytes that takes longer hangs.
_LONGEST = 1 << 14
# Which real files a target of a single file can begin with.
_REAL = {"fasta": ("fa", "fasta", "faa", "fna"), "genbank": ("gb", "gbk", "gbff", "seq", "gbwithparts")}


def _targets() -> dict:
  """All targets; imported late, for coverage is counted in what is imported once the fuzzer is there."""
  from tests.fuzz.document_targets import DOCUMENT_TARGETS
  from tests.fuzz.targets import TARGETS

  return TARGETS | DOCUMENT_TARGETS


def _add_seeds(target: str, corpus: pathlib.Path, real: str | None) -> None:
  corpus.mkdir(parents=True, exist_ok=True)
  for number, (data, _) in enumerate(_targets()[target].seeds):
    (corpus / f"seed{number}").write_bytes(data)
  for path in sorted(pathlib.Path(real).rglob("*.gz")) if real else ():
    if path.suffixes[-2:-1] and path.suffixes[-2][1:] in _REAL.get(target, ()):
      with gzip.open(path) as stream:
        (corpus / f"real_{path.name}").write_bytes(_short(stream.read(1 << 20), target))


def _short(data: bytes, target: str) -> bytes:
  """A valid input from a file's beginning: of GenBank, a record with its first features and its last lines."""
  if target != "genbank" or len(data) <= _LONGEST:
    return data[: _LONGEST // 2]
  features = data.find(b"\n     ", _LONGEST // 2)
  return data[:features] + b"\nORIGIN\n        1 acgtacgtac\n//\n"


def _fuzz(target: str, work: pathlib.Path, seconds: int) -> None:
  """Fuzzes one target in this process; libFuzzer ends the process."""
  import atheris

  with atheris.instrument_imports(include=["data_pipelines"]):
    parser = _targets()[target]

  crashes = work / "crashes" / target
  crashes.mkdir(parents=True, exist_ok=True)
  seen = {path.name.split(".")[0] for path in crashes.iterdir()}
  folder = pathlib.Path(tempfile.mkdtemp())

  @atheris.instrument_func
  def run(data: bytes) -> None:
    try:
      parser.run(folder, data)
    except Exception as error:  # pylint: disable=broad-exception-caught
      frame = traceback.extract_tb(error.__traceback__)[-1]
      place = f"{type(error).__name__}_{pathlib.Path(frame.filename).stem}_{frame.lineno}"
      if place not in seen:
        seen.add(place)
        (crashes / place).write_bytes(data)
        (crashes / f"{place}.txt").write_text(traceback.format_exc())
        print(f"NEW CRASH {place}: {error}", file=sys.stderr, flush=True)

  arguments = [f"-max_total_time={seconds}", f"-max_len={_LONGEST}", f"-timeout={_SLOW_SECONDS}", "-rss_limit_mb=2048",
               f"-artifact_prefix={crashes}/", "-print_final_stats=1", str(work / "corpus" / target)]  # fmt: skip
  atheris.Setup([sys.argv[0], *arguments], run)
  atheris.Fuzz()


_FIGURES = {
    "executions": r"number_of_executed_units: (\d+)", "a second": r"average_exec_per_sec: +(\d+)",
    "edges": r"cov: (\d+)", "features": r"ft: (\d+)", "corpus": r"corp: (\d+)",
}  # fmt: skip


def _report(target: str, log: str, crashes: pathlib.Path) -> str:
  """A line of what libFuzzer printed, and the crashes found up to now."""
  figures = [f"{name} {(re.findall(pattern, log) or ['?'])[-1]}" for name, pattern in _FIGURES.items()]
  found = [path.name for path in sorted(crashes.iterdir()) if path.suffix != ".txt"] if crashes.is_dir() else []
  return "  ".join([f"{target:<14}", *figures, f"crashes {', '.join(found) or 'none'}"])


def main(argv: list[str]) -> None:
  del argv
  values = flags.FLAGS
  if values.replay:
    with tempfile.TemporaryDirectory() as folder:
      count = _targets()[values.targets[0]].run(pathlib.Path(folder), pathlib.Path(values.replay).read_bytes())
    print("refused with an InputError" if count is None else f"{count} items")
    return
  work = pathlib.Path(values.work)
  if values.inside:
    _fuzz(values.targets[0], work, values.seconds)
    return
  for target in values.targets or _targets():
    _add_seeds(target, work / "corpus" / target, values.real)
    command = [sys.executable, "-m", "tests.fuzz.fuzz_parsers", "--inside", f"--targets={target}", f"--work={work}",
               f"--seconds={values.seconds}"]  # fmt: skip
    # libFuzzer ends its process without cleaning up; in memory the files of some thousand inputs a second cost little.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if pathlib.Path("/dev/shm").is_dir() else None) as folder:
      done = subprocess.run(
          command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, errors="replace",
          env=os.environ | {"TMPDIR": folder},
      )  # fmt: skip
    (work / f"{target}.log").write_text(done.stderr)
    if "INITED" not in done.stderr:
      raise SystemExit(f"{target} did not begin:\n{done.stderr[-2000:]}")
    print(_report(target, done.stderr, work / "crashes" / target), flush=True)


if __name__ == "__main__":
  flags.DEFINE_list("targets", [], "which parsers; all where none is named")
  flags.DEFINE_integer("seconds", 60, "for each target", lower_bound=1)
  flags.DEFINE_string("work", "runs/fuzz", "corpora, crashes and logs")
  flags.DEFINE_string("real", None, "folder with real files (*.gz) to begin with")
  flags.DEFINE_string("replay", None, "read this one input and show what it raises")
  flags.DEFINE_bool("inside", False, "set by the command itself: fuzz in this process")
  app.run(main)
