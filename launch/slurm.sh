#!/usr/bin/env bash
# Trains on GPU nodes of a Slurm cluster: makes a batch script and submits it.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: launch/slurm.sh --config FILE --rows DIR --workdir DIR [options] [-- more arguments of bsm_jax.train]

  --config FILE        config of the run, such as configs/bsm_110m.py
  --rows DIR           the `rows` folder of a build: absolute path that every node mounts, or gs://
  --workdir DIR        run directory, likewise; continued if it exists
  --nodes N            nodes (default 1)
  --gpus_per_node N    GPUs of each (default 8)
  --process_per UNIT   gpu (default) or node: what one training process drives
  --cpus_per_gpu N     CPU cores for each GPU (default 8)
  --time LIMIT         time limit of one go: minutes, HH:MM:SS or D-HH:MM:SS (default: the partition's)
  --partition NAME     --account NAME     --qos NAME     --constraint NAME     as in sbatch
  --name NAME          name of the job (default bsm_jax)
  --venv DIR           environment with bsm_jax[cuda] that every node sees (default: .venv in the checkout)
  --logs DIR           where the log goes (default: runs/slurm in the checkout)
  --dry_run            print the batch script, submit nothing
  -h, --help           this text

The checkout, the environment and the log folder have to be on a file system that all nodes share. 90 seconds before the
time limit training gets SIGTERM, writes a checkpoint and ends with status 130; the job then goes back into the queue
and continues. A preempted job is put back by Slurm. An error ends it.
USAGE
}

refuse() {
  printf 'slurm.sh: %s\n\n' "$*" >&2
  usage >&2
  exit 2
}

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
declare -A option=(
  [config]="" [rows]="" [workdir]="" [nodes]=1 [gpus_per_node]=8 [process_per]=gpu [cpus_per_gpu]=8 [time]=""
  [partition]="" [account]="" [qos]="" [constraint]="" [name]=bsm_jax [venv]="$ROOT/.venv" [logs]="$ROOT/runs/slurm"
)
dry_run=""
while (($#)); do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --dry_run) dry_run=yes; shift; continue ;;
    --) shift; break ;;
    --*=*) key="${1%%=*}" value="${1#*=}" ;;
    --*) key="$1" value="${2:-}" ;;
    *) refuse "unknown argument: $1" ;;
  esac
  key="${key#--}"
  [[ -n $key && -v option[$key] ]] || refuse "unknown option: $1"
  [[ -n $value ]] || refuse "--$key needs a value"
  if [[ $1 == *=* ]]; then shift; else shift 2; fi
  option[$key]="$value"
done
train=("$@")

# Everything is checked before anything is made.
require() { # KEY PATTERN WHAT
  [[ ${option[$1]} =~ ^($2)$ ]] || refuse "--$1=${option[$1]}: ${option[$1]:+not }${option[$1]:-missing; give} $3"
}
require config '[^[:space:]]+\.py(:[^[:space:]]*)?' "a config file, such as configs/bsm_110m.py"
[[ -f $ROOT/${option[config]%%:*} ]] || refuse "--config=${option[config]}: the checkout has no such file"
place='/[^[:space:]]+|gs://[^[:space:]/]+(/[^[:space:]]+)?'
require rows "$place" "a folder that every node sees: an absolute path or gs://"
require workdir "$place" "a folder that every node sees: an absolute path or gs://"
for key in nodes gpus_per_node cpus_per_gpu; do
  require "$key" '[1-9][0-9]{0,4}' "a number of 1 or more"
done
require process_per 'gpu|node' "gpu or node"
require name '[A-Za-z0-9][-._A-Za-z0-9]*' "a name of letters, digits, '-', '.' and '_'"
require venv '/[^[:space:]]+' "an absolute path without spaces"
require logs '/[^[:space:]%]+' "an absolute path without spaces"
for key in partition account qos constraint; do
  require "$key" '[-._,&|A-Za-z0-9]*' "a name of Slurm's"
done
require time '([0-9]+|[0-9]+(:[0-9]{2}){1,2}|[0-9]+-[0-9]{1,2}(:[0-9]{2}){0,2})?' "minutes, HH:MM:SS or D-HH:MM:SS"
[[ $ROOT != *[[:space:]]* ]] || refuse "sbatch needs a checkout without spaces in its path; this one is in $ROOT"
for argument in "${train[@]}"; do
  [[ $argument =~ ^--[a-z][a-zA-Z0-9_.]*(=.*)?$ ]] || refuse "no argument of bsm_jax.train: $argument"
  case "${argument%%=*}" in
    --config | --workdir | --config.data.root | --multihost | --coordinator | --num_hosts | --host)
      refuse "${argument%%=*} after -- would replace what this script sets" ;;
  esac
done

if [[ ${option[process_per]} == gpu ]]; then
  tasks="${option[gpus_per_node]}" cpus="${option[cpus_per_gpu]}"
else
  tasks=1 cpus=$((option[cpus_per_gpu] * option[gpus_per_node]))
fi

batch_script() {
  local key
  cat <<DIRECTIVES
#!/usr/bin/env bash
#SBATCH --job-name=${option[name]}
#SBATCH --nodes=${option[nodes]}
#SBATCH --ntasks-per-node=$tasks
#SBATCH --gpus-per-node=${option[gpus_per_node]}
#SBATCH --cpus-per-task=$cpus
#SBATCH --output=${option[logs]}/%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=TERM@90
DIRECTIVES
  for key in time partition account qos constraint; do
    [[ -z ${option[$key]} ]] || printf '#SBATCH --%s=%s\n' "$key" "${option[$key]}"
  done
  cat <<START
set -uo pipefail
cd $ROOT
START
  if [[ ${option[process_per]} == node ]]; then
    # JAX gives a process under Slurm one GPU, its number in the node, unless told otherwise.
    printf 'export JAX_LOCAL_DEVICE_IDS=%s\n' "$(seq -s, 0 $((option[gpus_per_node] - 1)))"
  fi
  cat <<'NOTE'
# When one process ends, the others have five minutes to finish their part of a checkpoint.
NOTE
  printf 'srun --kill-on-bad-exit=0 --wait=300 --cpus-per-task=%s \\\n  %s -m bsm_jax.train --multihost' "$cpus" \
    "${option[venv]}/bin/python"
  printf ' \\\n  %q' "--config=${option[config]}" "--config.data.root=${option[rows]}" \
    "--workdir=${option[workdir]}" "${train[@]}"
  cat <<'END'

status=$?
if ((status == 130)); then
  # Stopped by a signal, with a checkpoint: there is more to do.
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
END
}

if [[ -n $dry_run ]]; then
  batch_script
  exit 0
fi
command -v sbatch >/dev/null || { printf 'slurm.sh: there is no sbatch here; run it on a login node\n' >&2; exit 1; }
[[ -x ${option[venv]}/bin/python ]] || {
  printf 'slurm.sh: no environment in %s: make it (python3 -m venv DIR; DIR/bin/pip install -e %q), or give --venv\n' \
    "${option[venv]}" '.[cuda]' >&2
  exit 1
}
mkdir -p "${option[logs]}"
batch_script | sbatch
printf 'Next: squeue --me; the log is %s/%s-JOBID.log\n' "${option[logs]}" "${option[name]}"
