"""launch/tpu_host.sh on this machine as the host, with a Python that stands for training."""

import pathlib
import subprocess
import time

import pytest

# Training that says what it was given, answers SIGTERM with a checkpoint and status 130 (unless $STAND/deaf is there),
# and ends with the status in $STAND/end as soon as there is one.
TRAINING = """
[[ -e $STAND/deaf ]] && trap : TERM || trap 'echo checkpoint written; exit 130' TERM
echo training
while [[ ! -e $STAND/end ]]; do sleep 0.02; done
exit "$(<"$STAND/end")"
"""


@pytest.fixture
def host(stand, tmp_path):
  """Runs launch/tpu_host.sh; what still trains at the end is killed."""
  python = tmp_path / "venv/bin/python"
  python.parent.mkdir(parents=True)
  stand.add("python_of_the_host", TRAINING)
  python.symlink_to(stand.folder / "bin/python_of_the_host")
  environment = {"BSM_RUN": str(tmp_path / "run"), "BSM_VENV": str(tmp_path / "venv"), "BSM_STOP_SECONDS": "60"}

  def run(*arguments: str, status: int = 0, **changes: str) -> str:
    done = stand.bash("launch/tpu_host.sh", *arguments, **environment | changes)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr

  yield run
  if "running" in run("state"):
    (stand.folder / "end").write_text("0")
    wait_for_the_end(run)


def wait_for_the_end(host) -> str:
  """The state of the host once it is no longer `running`."""
  for _ in range(3000):
    if (state := host("state").strip()) != "host state: running":
      return state
    time.sleep(0.02)
  raise AssertionError("training does not end")


def wait_for_training(tmp_path: pathlib.Path, times: int = 1) -> None:
  """Waits until so many trainings have said that they listen to signals."""
  log = tmp_path / "run/train.log"
  for _ in range(3000):
    if log.exists() and log.read_text().count("\ntraining\n") >= times:
      return
    time.sleep(0.02)
  raise AssertionError(f"{log} never says that training has begun")


def end_with(stand, status: int) -> None:
  partial = stand.folder / "end.partial"
  partial.write_text(str(status))
  partial.replace(stand.folder / "end")


def test_a_fresh_host_trains_nothing(host):
  assert host("state") == "host state: absent\n"
  assert host("idle") == ""
  assert host("stop") == ""


@pytest.mark.parametrize(("status", "state"), [(0, "finished"), (130, "stopped"), (1, "failed 1"), (134, "failed 134")])
def test_training_goes_on_when_the_ssh_session_ends_and_its_exit_status_is_kept(host, stand, tmp_path, status, state):
  assert "training started on" in host("start", "--multihost", "--config=a.py", "--config.name=two words")
  assert host("state") == "host state: running\n"
  end_with(stand, status)
  assert wait_for_the_end(host) == f"host state: {state}"
  assert stand.calls("python_of_the_host") == ["-m bsm_jax.train --multihost --config=a.py --config.name=two words"]
  assert "python -m bsm_jax.train --multihost --config=a.py" in (tmp_path / "run/train.log").read_text()


def test_a_second_start_leaves_the_first_alone(host, stand):
  host("start", "--config=a.py")
  assert "already running" in host("start", "--config=b.py")
  assert "stop it first" in host("idle", status=1)
  end_with(stand, 0)
  wait_for_the_end(host)
  assert len(stand.calls("python_of_the_host")) == 1


def test_a_start_after_the_end_forgets_the_last_exit_status_and_keeps_the_log(host, stand, tmp_path):
  host("start", "--config=a.py")
  end_with(stand, 1)
  wait_for_the_end(host)
  (stand.folder / "end").unlink()
  host("start", "--config=a.py")
  assert host("state") == "host state: running\n"
  wait_for_training(tmp_path, times=2)
  assert (tmp_path / "run/train.log").read_text().count("== ") == 2


def test_stop_lets_training_write_its_checkpoint(host, tmp_path):
  host("start", "--config=a.py")
  wait_for_training(tmp_path)
  host("stop")
  assert wait_for_the_end(host) == "host state: stopped"
  assert "checkpoint written" in (tmp_path / "run/train.log").read_text()


def test_stop_kills_what_does_not_listen(host, stand, tmp_path):
  (stand.folder / "deaf").touch()
  host("start", "--config=a.py")
  wait_for_training(tmp_path)
  host("stop", BSM_STOP_SECONDS="1")
  assert wait_for_the_end(host) == "host state: lost"


def test_a_process_of_the_same_number_is_not_taken_for_training(host, tmp_path):
  (tmp_path / "run").mkdir()
  with subprocess.Popen(["sleep", "60"]) as other:
    (tmp_path / "run/pid").write_text(str(other.pid))
    assert host("state") == "host state: lost\n"
    host("stop")
    assert other.poll() is None
    other.kill()


def test_install_gets_a_python_first_where_the_host_has_none_new_enough(host, stand, tmp_path, monkeypatch):
  home = tmp_path / "home"
  (home / ".local/bin").mkdir(parents=True)
  monkeypatch.setenv("HOME", str(home))
  monkeypatch.delenv("PYTHON", raising=False)
  # No Python of this machine is new enough, except the one that uv says it installed, which cannot make environments.
  for name in ("python3.11", "python3.12", "python3.13", "python3", "python"):
    stand.add(name, '[[ $1 != -c ]]')
  stand.add("uv", '[[ $2 != find ]] || echo "$STAND/bin/python_of_uv"')
  stand.add("python_of_uv", '[[ $1 == -c ]] && exit 0; exit 42')
  (home / ".local/bin/uv").symlink_to(stand.folder / "bin/uv")
  (tmp_path / "venv/bin/python").unlink()
  host("install", status=42)
  assert stand.calls("python3")[-1] == "-m pip install --quiet --user uv"
  assert stand.calls("uv") == ["python install 3.11", "python find 3.11"]
  assert stand.calls("python_of_uv")[-1] == f"-m venv {tmp_path}/venv"


def test_an_unknown_command_is_refused_with_the_usage(host):
  assert "Usage: launch/tpu_host.sh" in host("restart", status=2)
  assert "Usage: launch/tpu_host.sh" in host("--help")
