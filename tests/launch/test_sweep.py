"""launch/sweep.py with a program that stands for training."""

import itertools
import json
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import pytest

from launch import sweep

ROOT = pathlib.Path(__file__).parents[2]
LEARNING_RATE = "configs/sweeps/learning_rate.py"
# Appends its arguments to `calls` beside the run directories and writes metrics; ends with the status in `status_of_ID`
# if there is one, and waits for a signal if that says "wait".
TRAINING = """
import json, pathlib, signal, sys
workdir = pathlib.Path(next(a for a in sys.argv if a.startswith("--workdir=")).removeprefix("--workdir="))
workdir.mkdir(exist_ok=True)
with (workdir.parent / "calls").open("a") as calls:
  print(workdir.name, *sys.argv[1:], file=calls)
status = workdir.parent / f"status_of_{workdir.name}"
said = status.read_text() if status.exists() else "0"
if said == "wait":
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: sys.exit(130))
  (workdir / "waiting").touch()
  while True:
    signal.pause()
sys.exit(int(said))
"""


@pytest.fixture
def training(tmp_path, monkeypatch) -> pathlib.Path:
  """Stands for bsm_jax.train; gives the sweep's folder."""
  program = tmp_path / "training.py"
  program.write_text(TRAINING)
  monkeypatch.setattr(sweep, "_TRAIN", (sys.executable, str(program)))
  handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
  (tmp_path / "sweep").mkdir()
  yield tmp_path / "sweep"
  for number, handler in handlers.items():
    signal.signal(number, handler)


def calls(folder: pathlib.Path) -> list[str]:
  """The ids of the runs that were started, in order."""
  return [line.split()[0] for line in (folder / "calls").read_text().splitlines()]


def write_sweep(tmp_path: pathlib.Path, overrides: list[dict], base: str = "configs/miniature.py") -> str:
  path = tmp_path / "sweep_config.py"
  path.write_text(
    "from ml_collections import ConfigDict\n"
    f"def get_config():\n  config = ConfigDict()\n  config.base = {base!r}\n  config.overrides = {overrides!r}\n"
    "  return config\n"
  )
  return str(path)


# Points and their ids


def test_the_id_of_a_point_tells_its_settings_and_does_not_depend_on_their_order():
  settings = {"optimizer.b2": 0.95, "rounds.round1.lr_start": 1e-3, "rounds.round3.lr_start": 1e-3}
  names = {sweep.run_id(dict(order)) for order in itertools.permutations(settings.items())}
  assert len(names) == 1
  assert names.pop().startswith("b2_0.95-lr_start_0.001-")


def test_settings_of_one_name_are_told_apart_where_they_differ():
  assert sweep.labels({"rounds.round1.lr_start": 1e-3, "rounds.round2.lr_start": 2e-3, "seed": 1}) == [
    "round1.lr_start=0.001",
    "round2.lr_start=0.002",
    "seed=1",
  ]


def test_ids_are_folder_names_of_bounded_length_whatever_the_values():
  values = {"data.root": "gs://bucket/a b/ü" * 40, "model.x": (1, 2.5)}
  assert len(sweep.run_id(values)) <= 70
  assert set(sweep.run_id(values)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
  assert sweep.run_id(values) != sweep.run_id(values | {"model.x": (1, 2.0)})


def test_a_new_point_leaves_the_ids_of_the_others_as_they_were(tmp_path):
  points = [{"seed": n, "optimizer.b1": 0.8} for n in range(3)]
  before = {run.id for run in sweep.make_runs(write_sweep(tmp_path, points))}
  after = {run.id for run in sweep.make_runs(write_sweep(tmp_path, [{"seed": 9}, *reversed(points)]))}
  assert len(before) == 3 and len(after) == 4 and before < after


def test_ids_stay_what_they_are_across_versions():
  """Finished runs are found by their ids: a change here would orphan them."""
  assert {run.id for run in sweep.make_runs(LEARNING_RATE)} >= {
    "lr_end_0.0005-lr_start_0.0005-a8b69897",
    "lr_end_0.001-lr_start_0.001-6351c016",
    "lr_end_0.002-lr_start_0.002-f019b43e",
    "lr_end_0.004-lr_start_0.004-79393be5",
  }


@pytest.mark.parametrize(
  ("key", "value", "argument"),
  [
    ("floating", 0.1 + 0.2, "--config.floating=0.30000000000000004"),
    ("floating", 1e-7, "--config.floating=1e-07"),
    ("floating", 2, "--config.floating=2"),
    ("whole", 7, "--config.whole=7"),
    ("flag", True, "--config.flag=True"),
    ("flag", False, "--config.flag=False"),
    ("text", "two words", "--config.text=two words"),
    ("pair", (3, 4.5), "--config.pair=(3, 4.5)"),
    ("pair", [3], "--config.pair=(3,)"),
    ("unset", "gs://bucket/rows", "--config.unset=gs://bucket/rows"),
  ],
)
def test_a_value_reaches_train_as_it_was_written(tmp_path, key, value, argument):
  base = tmp_path / "base.py"
  base.write_text(
    "from ml_collections import ConfigDict, config_dict\n"
    "def get_config():\n"
    "  unset = config_dict.placeholder(str)\n"
    "  return ConfigDict(dict(floating=1.0, whole=1, flag=False, text='', pair=(1, 2), unset=unset))"
  )
  (run,) = sweep.make_runs(write_sweep(tmp_path, [{key: value}], str(base)))
  assert run.arguments == (f"--config={base}", argument)
  # What train's own parser makes of the command line, as the shell would hand it over.
  (_, *arguments) = shlex.split(shlex.join(["train", *run.arguments]))
  assert sweep._parse(arguments, "")[key] == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
  ("overrides", "expected"),
  [
    ([{"optimizer.b3": 0.9}], "overrides[0]: train would refuse"),
    ([{"optimizer.b1": "high"}], "overrides[0]: train would refuse"),
    ([{"accumulation": 1.5}], "overrides[0]: train would refuse"),
    ([{"seed": 1}, {"seed": None}], "overrides[1], seed: None cannot be given on a command line"),
    ([{"data.root": 3}], "data.root=3 is read back as '3'"),
    ([{"seed": 1}, {"optimizer.b1": 0.8}, {"seed": 1}], "overrides[2] is the same point as overrides[0]"),
    ([{"optimizer.b1": 1}, {"optimizer.b1": 1.0}], "overrides[1] is the same point as overrides[0]"),
    ([], "get_config() has to give"),
  ],
)
def test_a_sweep_that_train_would_not_take_is_refused_as_a_whole(tmp_path, overrides, expected):
  with pytest.raises(sweep.SweepError) as error:
    sweep.make_runs(write_sweep(tmp_path, overrides))
  assert expected in str(error.value)


def test_a_base_that_is_not_there_is_refused(tmp_path):
  with pytest.raises(sweep.SweepError, match="nothing.py"):
    sweep.make_runs(write_sweep(tmp_path, [{"seed": 1}], "configs/nothing.py"))
  with pytest.raises(sweep.SweepError, match="there is no sweep config"):
    sweep.make_runs("configs/sweeps/nothing.py")


@pytest.mark.parametrize("path", sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "configs/sweeps").glob("*.py")))
def test_every_sweep_of_the_checkout_can_be_run(path):
  assert len(sweep.make_runs(path)) > 1
  assert path in (ROOT / path).read_text(), "the docstring gives the command"


# Running


def test_local_runs_all_in_order_and_a_second_time_none(tmp_path, training, capsys):
  runs = sweep.make_runs(write_sweep(tmp_path, [{"seed": 3}, {"seed": 1}]), ["--config.data.root=ROWS"])
  assert sweep.run_all(runs, str(training)) == 0
  assert calls(training) == [run.id for run in runs]
  assert (training / "calls").read_text().splitlines()[0] == (
    f"{runs[0].id} --config=configs/miniature.py --config.seed=3 --config.data.root=ROWS"
    f" --workdir={training}/{runs[0].id}"
  )
  assert sweep.run_all(runs, str(training)) == 0
  assert len(calls(training)) == 2
  assert f"1: {runs[1].id} is finished" in capsys.readouterr().err


def test_a_finished_run_is_run_again_if_its_other_arguments_change(tmp_path, training):
  path = write_sweep(tmp_path, [{"seed": 3}])
  sweep.run_all(sweep.make_runs(path, ["--config.data.root=A"]), str(training))
  sweep.run_all(sweep.make_runs(path, ["--config.data.root=B"]), str(training))
  assert len(calls(training)) == 2
  # The table is asked for without them.
  assert sweep.status(sweep.make_runs(path)[0], str(training)) == "finished"


def test_a_run_that_fails_does_not_keep_the_others_from_running(tmp_path, training, capsys):
  runs = sweep.make_runs(write_sweep(tmp_path, [{"seed": 3}, {"seed": 1}]))
  (training / f"status_of_{runs[0].id}").write_text("1")
  assert sweep.run_all(runs, str(training)) == 1
  assert calls(training) == [run.id for run in runs]
  assert f"failed: 0: {training}/{runs[0].id}" in capsys.readouterr().err
  assert [sweep.status(run, str(training)) for run in runs] == ["failed 1", "finished"]


def test_a_run_that_was_stopped_ends_the_sweep_and_is_continued_first(tmp_path, training):
  runs = sweep.make_runs(write_sweep(tmp_path, [{"seed": 3}, {"seed": 1}]))
  stopped = training / f"status_of_{runs[0].id}"
  stopped.write_text("130")
  assert sweep.run_all(runs, str(training)) == 130
  assert calls(training) == [runs[0].id]
  assert sweep.status(runs[0], str(training)) == "stopped"
  stopped.unlink()
  assert sweep.run_all(runs, str(training)) == 0
  assert calls(training) == [runs[0].id, runs[0].id, runs[1].id]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_run_in_progress_and_no_further_one_starts(tmp_path, training, number):
  path = write_sweep(tmp_path, [{"seed": 3}, {"seed": 1}])
  first, _ = sweep.make_runs(path)
  (training / f"status_of_{first.id}").write_text("wait")
  program = (
    "import sys; from launch import sweep; sweep._TRAIN = (sys.executable, sys.argv[1]);"
    "sys.exit(sweep.run_all(sweep.make_runs(sys.argv[2]), sys.argv[3]))"
  )
  command = [sys.executable, "-c", program, str(tmp_path / "training.py"), path, str(training)]
  with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
    for _ in range(3000):
      if (training / first.id / "waiting").exists() or process.poll() is not None:
        break
      time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
  assert process.returncode == 130, errors
  assert "the same command goes on from here" in errors
  assert calls(training) == [first.id]


# The table


def test_the_table_has_last_step_and_last_and_best_value_of_each_metric(tmp_path):
  runs = sweep.make_runs(write_sweep(tmp_path, [{"seed": 3}, {"seed": 1}, {"seed": 5}]))
  lines = [
    {"step": 0, "kind": "valid", "valid/a/dna": 2.0, "valid/b/dna": 1.9},
    {"step": 100, "kind": "valid", "valid/a/dna": 1.25},
    {"step": 120, "kind": "train", "loss": 3.0},
    {"step": 200, "kind": "valid", "valid/a/dna": 1.5, "valid/b/dna": float("nan")},
  ]
  runs[0].folder(str(tmp_path)).mkdir()
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (runs[0].folder(str(tmp_path)) / "metrics.jsonl").write_text(text + '{"step": 300, "val')
  runs[1].folder(str(tmp_path)).mkdir()
  note = {"arguments": list(runs[1].arguments), "exit_status": 1}
  (runs[1].folder(str(tmp_path)) / "sweep.json").write_text(json.dumps(note))

  assert sweep.collect(runs, str(tmp_path), []) == [
    ["index", "id", "status", "overrides", "step"]
    + ["valid/a/dna last", "valid/a/dna best", "valid/b/dna last", "valid/b/dna best"],
    ["0", runs[0].id, "-", "seed=3", "200", "1.5000", "1.2500", "nan", "1.9000"],
    ["1", runs[1].id, "failed 1", "seed=1", "-", "-", "-", "-", "-"],
    ["2", runs[2].id, "-", "seed=5", "-", "-", "-", "-", "-"],
  ]
  table = sweep.collect(runs[:1], str(tmp_path), ["valid/a/dna"])
  assert sweep.as_markdown(table) == (
    "| index | id | status | overrides | step | valid/a/dna last | valid/a/dna best |\n|---|---|---|---|---|---|---|\n"
    f"| 0 | {runs[0].id} | - | seed=3 | 200 | 1.5000 | 1.2500 |\n"
  )


# The command line


def test_list_prints_index_id_and_settings(stand):
  done = stand.python("launch.sweep", f"--config={LEARNING_RATE}", "--list")
  assert done.returncode == 0, done.stderr
  index, name, overrides = done.stdout.splitlines()[2].split("\t")
  assert (index, name) == ("2", "lr_end_0.002-lr_start_0.002-f019b43e")
  assert json.loads(overrides)["rounds.round2a.lr_start"] == 2e-3


def test_the_dry_run_prints_the_commands_and_runs_none(stand, tmp_path):
  def dry_run(*which: str) -> str:
    arguments = [f"--config={LEARNING_RATE}", f"--workdir={tmp_path}/w", "--dry_run", *which]
    done = stand.python("launch.sweep", *arguments, "--", "--config.data.root=a b")
    assert done.returncode == 0, done.stderr
    return done.stdout

  rounds = ("round1", "round2a", "round2b")
  constant = [f"--config.rounds.{name}.{end}=0.001" for name in rounds for end in ("lr_start", "lr_end")]
  assert dry_run("--index=1") == (
    f"{sys.executable} -m bsm_jax.train --config=configs/miniature.py {' '.join(constant)}"
    " --config.rounds.round3.lr_start=0.001 '--config.data.root=a b'"
    f" --workdir={tmp_path}/w/lr_end_0.001-lr_start_0.001-6351c016\n"
  )
  assert dry_run("--local").splitlines()[1] == dry_run("--index=1").strip()
  assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
  ("arguments", "expected"),
  [
    ([], "give one of --list, --local, --index=N, --collect"),
    (["--list", "--local"], "give one of"),
    (["--local"], "--workdir is missing"),
    (["--index=18", "--workdir=w"], "has the runs 0 to 17"),
    (["--index=-1", "--workdir=w"], "has the runs 0 to 17"),
    (["--list", "--", "--config.optimizer.b3=1"], "train would refuse"),
    (["--list", "--", "--workdir=elsewhere"], "not an argument for every run: --workdir=elsewhere"),
    (["--list", "--", "--config.rounds.round3.lr_start=1"], "set again after --"),
  ],
)
def test_a_wrong_command_line_is_refused(stand, arguments, expected):
  done = stand.python("launch.sweep", f"--config={LEARNING_RATE}", *arguments)
  assert done.returncode == 1
  assert expected in done.stdout + done.stderr
