"""Tasks: finished once and for all, the same in process and on Beam's runners, their errors brought to the driver."""

import os
import signal
import subprocess
import sys

import pytest

from data_pipelines.errors import InputError
from data_pipelines.pack import BuildError
from data_pipelines.tasks import Task, Workers, result

RUNNERS = {
    "in process": ("in_process", ()),
    "two processes": ("DirectRunner", ("--direct_running_mode=multi_processing", "--direct_num_workers=2")),
}


def write(folder, *, text, calls):
  with open(calls, "a") as log:
    log.write(f"{text} {os.getpid()}\n")
  (folder / "text").write_text(text)
  return {"length": len(text)}


def fail(folder, *, problem):
  (folder / "half").write_text("written")
  raise InputError("some.file", problem, "Mend it.", record="r1") if problem else KeyError("a defect")


def tasks(calls, *texts):
  return [Task(write, {"text": text, "calls": str(calls)}, text) for text in texts]


@pytest.fixture(params=RUNNERS)
def workers(request, tmp_path):
  runner, options = RUNNERS[request.param]
  return Workers(tmp_path / "work", runner, options)


def test_folders_come_in_the_order_of_the_tasks(workers, tmp_path):
  folders = workers.run("stage", tasks(tmp_path / "calls", "b", "aa", "ccc"))
  assert [(f / "text").read_text() for f in folders] == ["b", "aa", "ccc"]
  assert [result(f) for f in folders] == [{"length": 1}, {"length": 2}, {"length": 3}]


def test_a_finished_task_is_not_run_again(workers, tmp_path):
  calls = tmp_path / "calls"
  before = workers.run("stage", tasks(calls, "a", "b"))
  after = workers.run("stage", tasks(calls, "a", "c", "b"))
  assert [after[0], after[2]] == before
  assert sorted(line.split()[0] for line in calls.read_text().splitlines()) == ["a", "b", "c"]


def test_an_error_of_the_input_reaches_the_caller_and_leaves_nothing_half_written(workers, tmp_path):
  with pytest.raises(InputError, match="some.file: r1: is bad. Mend it.") as raised:
    workers.run("stage", [*tasks(tmp_path / "calls", "a"), Task(fail, {"problem": "is bad"})])
  assert (raised.value.path, raised.value.record) == ("some.file", "r1")
  (kept,) = (tmp_path / "work" / "stage").iterdir()
  assert (kept / "text").read_text() == "a"


def test_a_defect_is_no_error_of_the_input(workers):
  with pytest.raises((KeyError, BuildError), match="a defect"):
    workers.run("stage", [Task(fail, {"problem": ""})])


def test_a_killed_task_leaves_nothing_that_looks_finished(tmp_path):
  script = (
      "import os, pathlib, signal, sys; from data_pipelines.tasks import Task, Workers\n"
      "def die(folder): (folder / 'half').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)\n"
      "Workers(pathlib.Path(sys.argv[1])).run('stage', [Task(die, {})])\n"
  )
  assert subprocess.run([sys.executable, "-c", script, str(tmp_path)]).returncode == -signal.SIGKILL
  assert all(path.name.startswith(".") for path in (tmp_path / "stage").iterdir())


def test_other_arguments_are_another_task(tmp_path):
  (a,), (b,) = tasks(tmp_path, "a"), tasks(tmp_path, "b")
  assert a.key != b.key
  assert a.key == Task(write, {"calls": str(tmp_path), "text": "a"}, "another label").key


def test_a_runner_that_does_not_exist_is_named(tmp_path):
  with pytest.raises(BuildError, match="NoSuchRunner"):
    Workers(tmp_path, "NoSuchRunner").run("stage", tasks(tmp_path / "calls", "a", "b"))


def test_without_beam_the_remedy_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  with pytest.raises(BuildError, match=r"pip install 'bsm_jax\[data\]'"):
    Workers(tmp_path, "DirectRunner").run("stage", tasks(tmp_path / "calls", "a", "b"))
