"""A build gives the same bytes on every runner and number of workers, and when it is killed and started again."""

import json
import pathlib
import signal
import subprocess
import sys

import pytest

from data_pipelines import build, corpora
from data_pipelines.miniature import write_release

ROOT = pathlib.Path(__file__).parents[2]
ROW_SETS = {
    "single": {"corpus": "single_modal"},
    "pairs": {"corpus": "refseq_pairs", "codons": (10, 30)},
    "few": {"corpus": "refseq_pairs", "modalities": ("protein",), "max_documents": 7},
}
DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
  release = tmp_path_factory.mktemp("miniature") / "release"
  write_release(release, genes=40)
  return {
      "context": 256, "release": str(release), "sources": [{"kind": "assembly", "path": "{release}/GC[AF]_*"}],
      "documents": {"splits": {"valid": 0.15, "test": 0.1}, "shard_letters": 50_000}, "row_sets": ROW_SETS,
  }


def start(settings, out, runner="in_process", options=(), before=""):
  """Runs a build in a process of its own; documents are divided into many shards."""
  script = (
      "import json, os, signal, sys\n"
      "from data_pipelines import build, tasks\n"
      f"{before}\n"
      "if __name__ == '__main__':\n"
      "  config = build.BuildConfig.parse(json.loads(sys.argv[1]))\n"
      "  build.build(config, sys.argv[2], runner=sys.argv[3], beam_options=sys.argv[4:])\n"
  )
  command = [sys.executable, "-c", script, json.dumps(settings), str(out), runner, *options]
  return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def files_under(folder):
  return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# `perform` runs every task: counts the tasks, those that identify files apart, and is killed after so many.
COUNT = """
original, calls = tasks.perform, []
def perform(task, root):
  if root.name == 'identify files': return original(task, root)
  calls.append(task)
  if len(calls) > {limit}: os.kill(os.getpid(), signal.SIGKILL)
  original(task, root)
tasks.perform = perform
import atexit; atexit.register(lambda: print('tasks', len(calls)))
"""
UNLIMITED = COUNT.format(limit=10**6)


@pytest.fixture(scope="module")
def finished_build(settings, tmp_path_factory):
  """(files, number of tasks) of a build by one worker."""
  out = tmp_path_factory.mktemp("one_worker")
  done = start(settings, out, before=UNLIMITED)
  assert done.returncode == 0, done.stderr
  return files_under(out), int(done.stdout.split()[-1])


@pytest.fixture(scope="module")
def one_worker(finished_build):
  found, _ = finished_build
  shards = [p for p in found if "single_modal-train" in p.name]
  assert len(shards) > 5 and len([p for p in found if p.parts[:3] == ("rows", "single", "train")]) > 5
  return found


@pytest.mark.parametrize(("runner", "options"), [
    ("DirectRunner", ("--direct_running_mode=multi_threading", "--direct_num_workers=4")),
    # Starting processes for each stage takes some 100 seconds of two cores.
    pytest.param(
        "DirectRunner", ("--direct_running_mode=multi_processing", "--direct_num_workers=4"), marks=pytest.mark.slow
    ),
    pytest.param(DASK, ("--dask_npartitions=8",), marks=pytest.mark.slow),
], ids=["four threads", "four processes", "dask"])
def test_workers_change_no_byte(settings, one_worker, tmp_path, runner, options):
  done = start(settings, tmp_path, runner, options)
  assert done.returncode == 0, done.stderr
  assert files_under(tmp_path) == one_worker


@pytest.mark.parametrize("finished", [1, 8, 20, 40])
def test_a_killed_build_goes_on_behind_the_last_finished_task(settings, finished_build, tmp_path, finished):
  files, tasks = finished_build
  assert start(settings, tmp_path, before=COUNT.format(limit=finished)).returncode == -signal.SIGKILL
  done = start(settings, tmp_path, before=UNLIMITED)
  assert done.returncode == 0, done.stderr
  assert int(done.stdout.split()[-1]) == tasks - finished
  assert files_under(tmp_path) == files


def test_a_build_that_was_stopped_on_many_workers_can_go_on_with_one(settings, one_worker, tmp_path):
  options = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")
  die = "build._build_rows = None"  # every corpus is done by then, no row set is
  assert start(settings, tmp_path, "DirectRunner", options, before=die).returncode != 0
  done = start(settings, tmp_path)
  assert done.returncode == 0 and done.stdout.count("complete, nothing to do") == 2
  assert files_under(tmp_path) == one_worker


def test_bad_input_is_named_by_every_runner(settings, tmp_path):
  bad = tmp_path / "bad.fa"
  bad.write_text(">r1\nMKLVEFP\n")
  sources = [*settings["sources"], {"kind": "fasta", "path": str(bad), "modality": "dna"}]
  for runner, options in (("in_process", ()), ("DirectRunner", ("--direct_num_workers=2",))):
    done = start(settings | {"sources": sources}, tmp_path / runner, runner, options)
    assert done.returncode != 0
    assert f"{bad}: r1: 'L' at position 3 of 7 is not a letter of a dna sequence" in done.stderr.splitlines()[-1]


def test_the_shards_of_a_build_are_bounded(one_worker):
  sizes = [len(content) for path, content in one_worker.items() if path.suffix.startswith(".array_record")]
  assert max(sizes) < 4 * 50_000
  assert build.CREATED_BY.endswith(corpora.VERSION)
