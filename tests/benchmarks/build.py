"""How fast a build turns FASTA into rows, stage by stage, and how its peak memory depends on the size of its input.

  python -m tests.benchmarks.build --megabytes=10,100,1000 [--work=DIR]

Writes random proteins and DNA (half of the letters each), builds single-modal rows of 1024 tokens from them in a
process of its own, and extrapolates the core-hours of 220 billion tokens. Random sequences are the worst case of
compression and have no duplicates; real ones are held out and dropped a little more.
"""

import argparse
import json
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np

from data_pipelines import build, tasks
from data_pipelines.report import table

TOKENS = 220e9
MAX_CLUSTERED = 20_000
_ALPHABETS = {"protein": b"ACDEFGHIKLMNPQRSTVWY", "dna": b"ACGT"}
_LENGTHS = {"protein": (50, 700), "dna": (500, 20_000)}


def write_fasta(path: pathlib.Path, modality: str, letters: int) -> None:
  """Random sequences of `letters` letters in all, in lines of 80."""
  rng = np.random.default_rng(0)
  alphabet, (low, high) = np.frombuffer(_ALPHABETS[modality], np.uint8), _LENGTHS[modality]
  written = number = 0
  with open(path, "wb") as stream:
    while written < letters:
      sequence = alphabet[rng.integers(len(alphabet), size=rng.integers(low, high))].tobytes()
      lines = b"\n".join(sequence[i : i + 80] for i in range(0, len(sequence), 80))
      stream.write(b">%s%d\n%s\n" % (modality.encode(), number, lines))
      written, number = written + len(sequence), number + 1


def measure(folder: pathlib.Path) -> dict:
  """Builds; seconds of processor time by stage, tokens, and the peak memory of this process in bytes."""
  seconds: dict[str, float] = {}
  perform = tasks.perform

  def timed(task: tasks.Task, root: pathlib.Path) -> None:
    started = time.process_time()
    perform(task, root)
    seconds[root.name] = seconds.get(root.name, 0.0) + time.process_time() - started

  tasks.perform = timed
  sources = [
      {"kind": "fasta", "path": str(folder / f"{modality}.fa"), "modality": modality} for modality in _ALPHABETS
  ]
  config = {
      "context": 1024, "sources": sources, "row_sets": {"single": {"corpus": "single_modal"}},
      "documents": {"splits": {"valid": 0.05, "test": 0.05, "max_clustered": MAX_CLUSTERED}, "unit_bytes": 1 << 26},
  }
  before = time.process_time()
  build.build(build.BuildConfig.parse(config), folder / "out")
  total = time.process_time() - before
  splits = json.loads((folder / "out" / "rows" / "single" / "corpus.json").read_text())["splits"]
  return {
      "seconds": seconds, "total": total, "tokens": sum(s["tokens"] for s in splits.values()),
      "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
  }


def main(argv: Sequence[str]) -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--megabytes", default="10,100")
  parser.add_argument("--work", type=pathlib.Path, default=None)
  parser.add_argument("--measure", type=pathlib.Path, default=None, help=argparse.SUPPRESS)
  options = parser.parse_args(argv)
  if options.measure:
    measured = measure(options.measure)
    print(json.dumps(measured))
    return
  found: list[dict] = []
  sizes = [int(size) for size in options.megabytes.split(",")]
  for size in sizes:
    folder = pathlib.Path(tempfile.mkdtemp(dir=options.work))
    try:
      for modality in _ALPHABETS:
        write_fasta(folder / f"{modality}.fa", modality, size * 500_000)
      command = [sys.executable, "-m", "tests.benchmarks.build", f"--measure={folder}"]
      done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
      found.append(json.loads(done.stdout.splitlines()[-1]))
    finally:
      shutil.rmtree(folder)
  stages = list(found[0]["seconds"])
  rows = [[stage, *(f"{f['seconds'][stage]:.1f}" for f in found)] for stage in stages]
  rows.append(["in all, core-seconds", *(f"{f['total']:.1f}" for f in found)])
  rows.append(["tokens a core-second", *(f"{f['tokens'] / f['total']:,.0f}" for f in found)])
  rows.append(["peak memory, MB", *(f"{f['peak'] / 1e6:,.0f}" for f in found)])
  rows.append(["220B tokens, core-hours", *(f"{TOKENS / f['tokens'] * f['total'] / 3600:,.0f}" for f in found)])
  print(table(["stage", *(f"{size} MB" for size in sizes)], rows))


if __name__ == "__main__":
  main(sys.argv[1:])
