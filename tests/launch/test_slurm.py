"""launch/slurm.sh: the batch script, submitted to a Slurm that only listens, and run in a pretended job."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
ARGUMENTS = ["--config=configs/bsm_110m.py", "--rows=/data/rows", "--workdir=/data/runs/bsm"]
# What is the same in every script.
HEAD = """\
#!/usr/bin/env bash
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node={tasks}
#SBATCH --gpus-per-node={gpus}
#SBATCH --cpus-per-task={cpus}
#SBATCH --output={logs}/%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=TERM@90
"""
TAIL = """\
status=$?
if ((status == 130)); then
  # Stopped by a signal, with a checkpoint: there is more to do.
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
"""


def test_one_process_a_gpu_is_the_default(stand, nothing_was_called):
  done = stand.bash("launch/slurm.sh", *ARGUMENTS, "--dry_run")
  assert done.returncode == 0, done.stderr
  logs = ROOT / "runs/slurm"
  assert done.stdout == HEAD.format(name="bsm_jax", nodes=1, tasks=8, gpus=8, cpus=8, logs=logs) + (
    f"""\
set -uo pipefail
cd {ROOT}
# When one process ends, the others have five minutes to finish their part of a checkpoint.
srun --kill-on-bad-exit=0 --wait=300 --cpus-per-task=8 \\
  {ROOT}/.venv/bin/python -m bsm_jax.train --multihost \\
  --config=configs/bsm_110m.py \\
  --config.data.root=/data/rows \\
  --workdir=/data/runs/bsm
"""
    + TAIL
  )
  assert nothing_was_called()


def test_one_process_a_node_drives_all_gpus_and_all_options_are_passed_on(stand):
  more = "--nodes 4 --gpus_per_node 4 --process_per node --cpus_per_gpu 6 --time 1-12:00:00 --partition gpu"
  more += " --account=lab --qos high --constraint a100&ib --name my-run --venv /shared/venv --logs /shared/logs"
  done = stand.bash("launch/slurm.sh", *ARGUMENTS, *more.split(), "--dry_run", "--", "--config.mesh.axes=(1, 2)")
  assert done.returncode == 0, done.stderr
  assert done.stdout == HEAD.format(name="my-run", nodes=4, tasks=1, gpus=4, cpus=24, logs="/shared/logs") + (
    f"""\
#SBATCH --time=1-12:00:00
#SBATCH --partition=gpu
#SBATCH --account=lab
#SBATCH --qos=high
#SBATCH --constraint=a100&ib
set -uo pipefail
cd {ROOT}
export JAX_LOCAL_DEVICE_IDS=0,1,2,3
# When one process ends, the others have five minutes to finish their part of a checkpoint.
srun --kill-on-bad-exit=0 --wait=300 --cpus-per-task=24 \\
  /shared/venv/bin/python -m bsm_jax.train --multihost \\
  --config=configs/bsm_110m.py \\
  --config.data.root=/data/rows \\
  --workdir=/data/runs/bsm \\
  --config.mesh.axes=\\(1\\,\\ 2\\)
"""
    + TAIL
  )


@pytest.mark.parametrize(
  ("wrong", "expected"),
  [
    (["--config="], "--config needs a value"),
    (["--config=configs/none.py"], "the checkout has no such file"),
    (["--rows=rows"], "an absolute path or gs://"),
    (["--workdir=runs/x"], "an absolute path or gs://"),
    (["--nodes=0"], "a number of 1 or more"),
    (["--gpus_per_node=many"], "a number of 1 or more"),
    (["--process_per=core"], "gpu or node"),
    (["--time=tomorrow"], "minutes, HH:MM:SS or D-HH:MM:SS"),
    (["--partition=a b"], "a name of Slurm's"),
    (["--name=a\nb"], "a name of letters"),
    (["--venv=.venv"], "an absolute path"),
    (["--logs=logs"], "an absolute path"),
    (["--node=2"], "unknown option: --node=2"),
    (["--nodes"], "--nodes needs a value"),
    (["configs/bsm_110m.py"], "unknown argument"),
    (["--", "--workdir=/other"], "would replace what this script sets"),
    (["--", "config.seed=1"], "no argument of bsm_jax.train"),
  ],
)
def test_a_wrong_argument_is_refused_with_the_usage_before_sbatch_is_called(
  stand, nothing_was_called, wrong, expected
):
  done = stand.bash("launch/slurm.sh", *ARGUMENTS, *wrong)
  assert done.returncode == 2
  assert expected in done.stderr and "Usage: launch/slurm.sh" in done.stderr
  assert nothing_was_called()


@pytest.mark.parametrize("missing", ["config", "rows", "workdir"])
def test_nothing_is_guessed(stand, nothing_was_called, missing):
  done = stand.bash("launch/slurm.sh", *(a for a in ARGUMENTS if not a.startswith(f"--{missing}")))
  assert done.returncode == 2 and f"--{missing}=: missing" in done.stderr
  assert nothing_was_called()


@pytest.fixture
def submitted(stand, tmp_path) -> pathlib.Path:
  """A job submitted for real, with a Python that ends with the status that $TRAIN_STATUS says."""
  python = tmp_path / "venv/bin/python"
  python.parent.mkdir(parents=True)
  python.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$*"\nexit "$TRAIN_STATUS"\n')
  python.chmod(0o755)
  stand.add("sbatch", 'cat >"$STAND/job.sh"')
  stand.add("srun", 'while [[ $1 == --* ]]; do shift; done\n"$@"')
  stand.add("scontrol")
  done = stand.bash("launch/slurm.sh", *ARGUMENTS, f"--venv={tmp_path}/venv", f"--logs={tmp_path}/logs")
  assert done.returncode == 0, done.stderr
  assert "Next: squeue --me" in done.stdout and (tmp_path / "logs").is_dir()
  return stand.folder / "job.sh"


@pytest.mark.parametrize(("status", "requeued"), [(0, []), (1, []), (130, ["requeue 4711"])])
def test_the_job_goes_back_into_the_queue_only_if_it_was_stopped(stand, submitted, status, requeued, monkeypatch):
  monkeypatch.setenv("SLURM_JOB_ID", "4711")
  monkeypatch.setenv("TRAIN_STATUS", str(status))
  done = subprocess.run(["bash", submitted], capture_output=True, text=True)
  assert done.returncode == status
  assert done.stdout.startswith("-m bsm_jax.train --multihost --config=configs/bsm_110m.py")
  assert stand.calls("scontrol") == requeued


def test_a_missing_environment_is_told_before_the_job_is_submitted(stand, nothing_was_called, tmp_path):
  done = stand.bash("launch/slurm.sh", *ARGUMENTS, f"--venv={tmp_path}/none", f"--logs={tmp_path}/logs")
  assert done.returncode == 1 and "no environment in" in done.stderr
  assert nothing_was_called() and not (tmp_path / "logs").exists()
