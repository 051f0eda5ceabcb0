"""launch/tpu_pod.py with a gcloud that only answers."""

import itertools
import subprocess
import tarfile

import pytest

from launch import tpu_pod
from launch.slices import GENERATIONS, parse_slice

PLACE = ["--name=bsm", "--zone=us-west4-a", "--project=my-project"]
SLICES = ["--slice=v5e:16x16"]
TRAIN = ["--config=configs/bsm_110m.py", "--rows=gs://bucket/rows", "--workdir=gs://bucket/runs/bsm_110m"]
QR, AT = "gcloud compute tpus queued-resources", "--zone=us-west4-a --project=my-project"
ALL = f"{AT} --quiet --node=all --worker=all"
HOST = "bsm_jax/launch/tpu_host.sh"


@pytest.fixture
def dry_run(nothing_was_called, capsys):
  """The lines that a command prints with --dry_run."""

  def run(command: str, *arguments: str) -> list[str]:
    assert tpu_pod.main([command, *PLACE, "--dry_run", *arguments]) == 0
    assert nothing_was_called()
    return capsys.readouterr().out.splitlines()

  return run


# What is printed is what is run


def test_create_asks_for_one_slice_by_its_accelerator_type(dry_run):
  assert dry_run("create", *SLICES) == [
    f"{QR} create bsm {AT} --node-id=bsm --accelerator-type=v5litepod-256 --runtime-version=v2-alpha-tpuv5-lite"
  ]


def test_create_asks_for_several_spot_slices_with_all_that_was_given(dry_run):
  more = ["--num_slices=2", "--spot", "--valid_until_duration=1d12h", "--service_account=run@my-project.example.com"]
  assert dry_run("create", "--slice=v5p:4x4x4", *more, "--network=net", "--runtime_version=v2-new") == [
    f"{QR} create bsm {AT} --node-count=2 --accelerator-type=v5p-128 --runtime-version=v2-new --spot"
    " --valid-until-duration=1d12h --service-account=run@my-project.example.com --network=net"
  ]


def test_run_copies_installs_and_starts_on_all_hosts_of_all_slices(dry_run):
  assert dry_run("run", *TRAIN, "--", "--config.data.batch_size=2048", "--config.seed=1") == [
    "mkdir -p runs/launch",
    "git ls-files -z --cached --others --exclude-standard | tar -czf runs/launch/bsm.tar.gz --null --files-from=-",
    f"{QR} scp runs/launch/bsm.tar.gz bsm:bsm_jax.tar.gz {ALL}",
    f"{QR} ssh bsm {ALL} '--command=if [ -e {HOST} ]; then bash {HOST} idle; fi && mkdir -p bsm_jax"
    f" && tar -xzf bsm_jax.tar.gz -C bsm_jax && bash {HOST} install'",
    f"{QR} ssh bsm {ALL} '--command=bash {HOST} start --multihost --config=configs/bsm_110m.py"
    " --config.data.root=gs://bucket/rows --workdir=gs://bucket/runs/bsm_110m --config.data.batch_size=2048"
    " --config.seed=1'",
  ]


def test_logs_follow_the_first_host_or_all(dry_run):
  assert dry_run("logs") == [f"{QR} ssh bsm {AT} --quiet --node=0 --worker=0 '--command=bash {HOST} follow'"]
  assert f"{ALL} '--command=bash {HOST} follow'" in dry_run("logs", "--node=all", "--worker=all")[0]


def test_delete_takes_the_nodes_too(dry_run):
  assert dry_run("delete") == [f"{QR} delete bsm {AT} --force --quiet"]


def test_the_dry_run_of_watch_says_when_it_would_do_what(dry_run):
  lines = dry_run("watch", *SLICES, *TRAIN)
  assert [line for line in lines if line.startswith("#")] == [
    "# at each poll",
    "# if there is no such request",
    "# if it is SUSPENDED (preempted) or FAILED",
    "# if it is ACTIVE",
    "# if training is absent, was stopped or lost, or failed (--max_failures times)",
    "# if some hosts have ended and the others hang for 10 polls",
  ]
  run = lines.index("mkdir -p runs/launch")
  assert lines[run : run + 5] == dry_run("run", *TRAIN)


def test_what_a_command_runs_is_what_its_dry_run_prints(stand, dry_run):
  printed = dry_run("create", *SLICES)
  stand.add("gcloud")
  done = stand.python("launch.tpu_pod", "create", *PLACE, *SLICES)
  assert done.returncode == 0, done.stderr
  assert [f"gcloud {call}" for call in stand.calls("gcloud")] == printed
  assert "Next: python -m launch.tpu_pod status --name=bsm" in done.stdout


def test_run_stops_at_the_first_command_that_fails(stand):
  stand.add("mkdir")
  stand.add("tar")
  stand.add("git", "exit 3\n")
  done = stand.python("launch.tpu_pod", "run", *PLACE, *TRAIN)
  assert done.returncode == 1
  assert "exit status 3 of: git ls-files" in done.stderr
  assert stand.calls("gcloud") == []


def test_status_asks_the_hosts_only_if_there_are_any(stand):
  stand.add("gcloud", '[[ $4 == ssh ]] && echo "host state: running" || echo WAITING_FOR_RESOURCES\n')
  assert stand.python("launch.tpu_pod", "status", *PLACE).stdout == "request: WAITING_FOR_RESOURCES\n"
  stand.add("gcloud", '[[ $4 == ssh ]] && echo "host state: running" || echo ACTIVE\n')
  assert stand.python("launch.tpu_pod", "status", *PLACE).stdout == "request: ACTIVE\nhost state: running\n"
  stand.add("gcloud", "echo 'ERROR: PERMISSION_DENIED: ask your admin' >&2; exit 1\n")
  done = stand.python("launch.tpu_pod", "status", *PLACE)
  assert done.returncode == 1 and "ask your admin" in done.stderr


# Refusals


@pytest.mark.parametrize(
  ("command", "wrong", "expected"),
  [
    ("create", ["--slice=v5e:3x3"], "'v5e:3x3' is no shape of"),
    ("create", ["--slice=v5e:3x3"], "4x4, 4x8"),
    ("create", ["--slice=v9:2x2"], "names no TPU generation"),
    ("create", ["--slice=tpu7x:2x2x1"], "use python -m launch.gke_jobset"),
    ("create", ["--num_slices=0"], "not a number of 1 or more"),
    ("create", ["--name=Bsm"], "'Bsm' is not a name"),
    ("create", ["--name=bsm-"], "'bsm-' is not a name"),
    ("create", ["--zone=us-west4"], "not a zone"),
    ("create", ["--project=p"], "not the id of a project"),
    ("create", ["--valid_until_duration=soon"], "not a duration"),
    ("create", ["--spott"], "unrecognized arguments: --spott"),
    ("create", ["--", "--config.seed=1"], "create takes nothing after --"),
    ("run", ["--workdir=/home/me/run"], "a host's disk is lost with the host"),
    ("run", ["--workdir=gs://bucket"], "a folder in a bucket"),
    ("run", ["--rows=rows"], "that every host can read"),
    ("run", ["--config=configs/nothing.py"], "no config of this checkout"),
    ("run", ["--config=../configs/bsm_110m.py"], "no config of this checkout"),
    ("run", ["--", "--workdir=gs://other/run"], "--workdir after -- would replace"),
    ("run", ["--", "--config.data.root=gs://other/rows"], "would replace"),
    ("run", ["--", "config.seed=1"], "no argument of bsm_jax.train"),
    ("watch", ["--poll_seconds=-1"], "0 or more"),
    ("watch", ["--max_failures=0"], "not a number of 1 or more"),
    ("logs", ["--worker=first"], "not a number, or all"),
  ],
)
def test_a_wrong_argument_is_refused_before_anything_is_called(nothing_was_called, capsys, command, wrong, expected):
  right = {"create": SLICES, "run": TRAIN, "watch": [*SLICES, *TRAIN], "logs": []}[command]
  with pytest.raises(SystemExit, match="2"):
    tpu_pod.main([command, *PLACE, *right, *wrong])
  assert expected in capsys.readouterr().err
  assert nothing_was_called()


@pytest.mark.parametrize("missing", ["--name", "--zone", "--project", "--slice", "--config", "--rows", "--workdir"])
def test_nothing_is_guessed(nothing_was_called, capsys, missing):
  with pytest.raises(SystemExit, match="2"):
    tpu_pod.main(["watch", *(a for a in [*PLACE, *SLICES, *TRAIN] if not a.startswith(missing + "="))])
  assert f"required: {missing}" in capsys.readouterr().err
  assert nothing_was_called()


def test_every_command_has_its_help(stand):
  assert "launch.tpu_pod watch" in stand.python("launch.tpu_pod", "--help").stdout
  assert "--valid_until_duration" in stand.python("launch.tpu_pod", "create", "--help").stdout


def test_accelerator_types_count_cores_or_chips_as_the_generation_does():
  named = {text: parse_slice(text).accelerator_type for text in ("v4:2x2x1", "v5e:2x4", "v5p:8x8x8", "v6e:16x16")}
  assert named == {"v4:2x2x1": "v4-8", "v5e:2x4": "v5litepod-8", "v5p:8x8x8": "v5p-1024", "v6e:16x16": "v6e-256"}


@pytest.mark.parametrize("name", GENERATIONS)
def test_a_size_has_one_shape(name):
  sizes = [parse_slice(f"{name}:{shape}").chips for shape in GENERATIONS[name].shapes]
  assert sizes == sorted(set(sizes))


# Watching


@pytest.fixture
def watched(stand, tmp_path, monkeypatch):
  """Runs `watch` against the states that gcloud is to report, one a poll; gives exit status and the verbs called.

  A state is that of the request, or of the hosts where the request is ACTIVE (several, separated by commas); "absent
  request" is none. The last one is reported for ever, so that a watch that does not end runs out of polls.
  """
  answer = """
verb=$4
case "$verb" in
  describe)
    state=$(head -n 1 "$STAND/states"); [[ $(wc -l <"$STAND/states") == 1 ]] || sed -i 1d "$STAND/states"
    printf '%s' "$state" >"$STAND/now"
    case "$state" in
      none) echo "ERROR: (gcloud.compute.tpus) NOT_FOUND: Resource 'x' was not found" >&2; exit 1 ;;
      error) echo "ERROR: (gcloud.compute.tpus) UNAUTHENTICATED: log in" >&2; exit 1 ;;
      [A-Z]*) echo "$state" ;;
      *) echo ACTIVE ;;
    esac ;;
  ssh)
    if [[ $* == *"tpu_host.sh state"* ]]; then
      state=$(<"$STAND/now")
      [[ $state != unreachable ]] || exit 255
      tr ',' '\\n' <<<"$state" | sed 's/^/host state: /'
    fi ;;
  create) [[ ! -e $STAND/no_quota ]] || { echo "ERROR: RESOURCE_EXHAUSTED" >&2; exit 1; } ;;
esac
"""
  stand.add("gcloud", answer)
  stand.add("tar")
  stand.add("git")
  stand.add("mkdir")
  polls = itertools.count(1)

  def no_sleep(seconds: float) -> None:
    assert seconds == 60 and next(polls) < 300, "watch does not end"

  monkeypatch.setattr(tpu_pod.time, "sleep", no_sleep)

  def run(states: list[str], *more: str) -> tuple[int, list[str]]:
    (stand.folder / "states").write_text("\n".join(states) + "\n")
    options = tpu_pod.make_parser().parse_args(["watch", *PLACE, *SLICES, *TRAIN, *more])
    status = tpu_pod.watch(options, tpu_pod.Pod(options), ["--multihost"])
    calls = [call.split(maxsplit=3)[3] for call in stand.calls("gcloud")]
    verbs = [call.split("tpu_host.sh ")[-1].split()[0] for call in calls]
    return status, [verb for verb in verbs if verb not in ("describe", "state;", "scp", "install")]

  return run


def test_watch_creates_waits_runs_and_ends_with_training(watched, capsys):
  states = ["none", "WAITING_FOR_RESOURCES", "PROVISIONING", "absent,absent", "running,running", "finished,finished"]
  assert watched(states) == (0, ["create", "start"])
  assert f"delete them with: {QR} delete bsm" in capsys.readouterr().out


def test_watch_asks_again_after_each_preemption_and_runs_again(watched):
  preempted = ["SUSPENDING", "SUSPENDED", "WAITING_FOR_RESOURCES", "absent", "running"]
  assert watched(["running", *preempted * 5, "finished"]) == (0, ["delete", "create", "start"] * 5)


def test_watch_joins_what_is_already_there(watched):
  assert watched(["running,running", "finished,finished"]) == (0, [])


def test_watch_continues_training_that_was_stopped_or_lost(watched):
  assert watched(["stopped,stopped", "running,running", "lost,lost", "running,running", "finished,finished"]) == (
    0,
    ["start", "start"],
  )


def test_watch_asks_again_for_a_request_that_failed_but_not_for_ever(watched):
  assert watched(["FAILED", "absent", "running", "finished"]) == (0, ["delete", "create", "start"])


def test_watch_gives_up_on_a_request_that_always_fails(watched):
  assert watched(["FAILED"]) == (1, ["delete", "create"] * 2)


def test_watch_gives_up_on_training_that_always_fails(watched, capsys):
  assert watched(["absent,absent", "failed 1,failed 1"]) == (1, ["start"] * 3)
  assert "failure 3 of 3: training ended with failed 1" in capsys.readouterr().out


def test_watch_forgives_failures_after_hours_of_training(watched):
  hours = ["running"] * tpu_pod._HEALTHY_POLLS
  assert watched(["failed 1", *hours] * 6 + ["finished"]) == (0, ["start"] * 6)


def test_watch_waits_for_the_other_hosts_when_one_has_failed(watched):
  assert watched(["failed 1,running", "failed 1,failed 134", "running,running", "finished,finished"]) == (0, ["start"])


def test_watch_runs_again_when_a_host_failed_where_another_finished(watched):
  assert watched(["finished,failed 1", "running,running", "finished,finished"]) == (0, ["start"])


def test_watch_stops_hosts_that_hang_after_another_failed(watched):
  hanging = ["failed 1,running"] * (tpu_pod._STUCK_POLLS + 1)
  assert watched([*hanging, "failed 1,lost", "running,running", "finished,finished"]) == (0, ["stop", "start"])


def test_watch_stops_hosts_that_hang_after_another_stopped(watched):
  hanging = ["stopped,running"] * (tpu_pod._STUCK_POLLS + 1)
  assert watched([*hanging, "stopped,lost", "running,running", "finished,finished"]) == (0, ["stop", "start"])


def test_watch_sits_out_hosts_that_do_not_answer(watched):
  assert watched(["running", *["unreachable"] * 5, "SUSPENDED", "absent", "finished"]) == (
    0,
    ["delete", "create", "start"],
  )


def test_watch_gives_up_when_nobody_answers(watched):
  assert watched(["unreachable"])[0] == 1
  assert watched(["error"])[0] == 1


def test_watch_creates_nothing_while_gcloud_cannot_say_what_there_is(watched):
  assert watched(["error"] * 5 + ["finished"]) == (0, [])


def test_watch_gives_up_when_it_cannot_create(watched, stand):
  (stand.folder / "no_quota").touch()
  assert watched(["none"]) == (1, ["create"] * 3)


def test_watch_deletes_at_the_end_if_asked_to(watched):
  assert watched(["finished"], "--delete_at_end") == (0, ["delete"])


# The checkout that is sent


def test_the_archive_holds_the_checkout_with_new_files_but_not_what_git_ignores(stand, tmp_path, monkeypatch):
  root = tmp_path / "checkout"
  (root / "runs").mkdir(parents=True)
  for name, text in {"a.py": "1", "new file.py": "2", ".gitignore": "/runs/\n", "runs/big": "3"}.items():
    (root / name).write_text(text)
  git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.com", "-C", str(root)]
  subprocess.run([*git, "init", "--quiet"], check=True)
  subprocess.run([*git, "add", "a.py", ".gitignore"], check=True)
  subprocess.run([*git, "commit", "--quiet", "--message=m"], check=True)
  stand.add("gcloud")
  options = tpu_pod.make_parser().parse_args(["run", *PLACE, *TRAIN])
  monkeypatch.setattr(tpu_pod.arguments, "ROOT", root)
  tpu_pod.execute(tpu_pod.Pod(options).run(["--multihost"]))
  with tarfile.open(root / "runs/launch/bsm.tar.gz") as archive:
    assert sorted(archive.getnames()) == [".gitignore", "a.py", "new file.py"]
  assert [call.split()[3] for call in stand.calls("gcloud")] == ["scp", "ssh", "ssh"]
  assert all("--node=all --worker=all" in call for call in stand.calls("gcloud"))
