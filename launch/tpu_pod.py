"""Trains on Cloud TPU slices, which are asked for as a queued resource, on one slice or several.

  python -m launch.tpu_pod create --name=bsm --zone=us-west4-a --project=P --slice=v5e:16x16 --spot
  python -m launch.tpu_pod run    --name=bsm --zone=us-west4-a --project=P --config=configs/bsm_110m.py \
      --rows=gs://B/rows --workdir=gs://B/runs/bsm_110m [-- --config.data.batch_size=2048 ...]
  python -m launch.tpu_pod watch  ...all of the above...

`watch` does everything: it asks for the slices, starts training when they are there, asks again when they were
preempted, and ends when training has. Stop and start it at will: it goes by what it finds. `logs`, `status`, `stop`
(with a checkpoint; `run` goes on from it) and `delete` do what they say. `--dry_run` prints the commands, runs none.

Needs gcloud, logged in, and no Python library. On several slices JAX and libtpu read number and address of the slices
(MEGASCALE_*) from the hosts' metadata, which Cloud TPU writes for a queued resource of several nodes
(`jax/_src/clusters/cloud_tpu_cluster.py`), so nothing is set here. Tested with a gcloud that only answers; not yet in
the cloud.
"""

import argparse
import re
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence

from launch import arguments
from launch.slices import Slice

_GCLOUD = ("gcloud", "compute", "tpus", "queued-resources")
_HOST = "bsm_jax/launch/tpu_host.sh"
# Polls of a running job after which earlier failures are forgiven, and after which hosts are stopped that do not notice
# that another one has ended. JAX itself notices a lost host within some two minutes.
_HEALTHY_POLLS, _STUCK_POLLS = 30, 10


class CommandFailed(Exception):
  """A command that ended with an error, which it has printed."""


class Pod:
  """The commands that act on one queued resource."""

  def __init__(self, options: argparse.Namespace):
    self._options = options
    self._place = [f"--zone={options.zone}", f"--project={options.project}"]

  def _gcloud(self, verb: str, *rest: str) -> str:
    return shlex.join([*_GCLOUD, verb, self._options.name, *self._place, *rest])

  def ssh(self, command: str, *, node: str = "all", worker: str = "all") -> str:
    return self._gcloud("ssh", "--quiet", f"--node={node}", f"--worker={worker}", f"--command={command}")

  def create(self) -> list[str]:
    options = self._options
    nodes = f"--node-id={options.name}" if options.num_slices == 1 else f"--node-count={options.num_slices}"
    request = [
        nodes,
        f"--accelerator-type={options.slice.accelerator_type}",
        f"--runtime-version={options.runtime_version or options.slice.generation.runtime_version}",
    ]
    if options.spot:
      request.append("--spot")
    for name in ("valid_until_duration", "service_account", "network", "subnetwork"):
      if getattr(options, name):
        request.append(f"--{name.replace('_', '-')}={getattr(options, name)}")
    return [self._gcloud("create", *request)]

  def run(self, train: Sequence[str]) -> list[str]:
    """This checkout as it is, without what git ignores, to every host; installed; started."""
    name = self._options.name
    archive = f"runs/launch/{name}.tar.gz"
    copy = [*_GCLOUD, "scp", archive, f"{name}:bsm_jax.tar.gz", *self._place, "--quiet", "--node=all", "--worker=all"]
    unpack = f"if [ -e {_HOST} ]; then bash {_HOST} idle; fi && mkdir -p bsm_jax && tar -xzf bsm_jax.tar.gz -C bsm_jax"
    return [
        "mkdir -p runs/launch",
        f"git ls-files -z --cached --others --exclude-standard | tar -czf {archive} --null --files-from=-",
        shlex.join(copy),
        self.ssh(f"{unpack} && bash {_HOST} install"),
        self.ssh(shlex.join(["bash", _HOST, "start", *train])),
    ]

  def logs(self) -> list[str]:
    return [self.ssh(f"bash {_HOST} follow", node=self._options.node, worker=self._options.worker)]

  def request_state(self) -> str:
    return self._gcloud("describe", "--format=value(state.state)")

  def host_states(self) -> str:
    # Before the first `run` there is no script to ask.
    return self.ssh(f"if [ -e {_HOST} ]; then bash {_HOST} state; else echo host state: absent; fi")

  def stop(self) -> list[str]:
    return [self.ssh(f"bash {_HOST} stop")]

  def delete(self) -> list[str]:
    return [self._gcloud("delete", "--force", "--quiet")]


def execute(lines: Sequence[str]) -> None:
  """Shows and runs command lines one after the other, in the checkout.

  Raises:
    CommandFailed: one of them failed; the later ones were not run.
  """
  for line in lines:
    print(f"\n+ {line}", file=sys.stderr, flush=True)
    status = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=arguments.ROOT).returncode
    if status:
      raise CommandFailed(f"exit status {status} of: {line}")


def ask(line: str) -> subprocess.CompletedProcess:
  return subprocess.run(["bash", "-c", line], cwd=arguments.ROOT, capture_output=True, text=True)


def request_state(pod: Pod) -> str:
  """State of the queued resource, "" if there is none.

  Raises:
    CommandFailed: gcloud answered with any other error.
  """
  done = ask(pod.request_state())
  if done.returncode == 0:
    return done.stdout.strip()
  if "NOT_FOUND" in done.stderr:
    return ""
  raise CommandFailed(f"gcloud could not say what became of the request: {done.stderr.strip()}")


def host_states(pod: Pod) -> Counter[str]:
  """How many hosts say what.

  Raises:
    CommandFailed: not all can be reached: a preemption is under way, a host restarts, or the network is down.
  """
  done = ask(pod.host_states())
  said = Counter(re.findall(r"host state: (.*\S)", done.stdout))
  if done.returncode or not said:
    raise CommandFailed(f"the hosts do not answer: {done.stderr.strip()}")
  return said


class Watch:
  """Brings training to its end: one `step` looks at what there is and does the next thing.

  A failure is a request that ends as FAILED, a command that fails, or training that ends with an error. `max_failures`
  of them are for good, unless `_HEALTHY_POLLS` polls of training or a preemption come in between; so are
  10 x `max_failures` polls in a row that nobody answers.
  """

  def __init__(self, pod: Pod, train: Sequence[str], max_failures: int):
    self._pod, self._train, self._max_failures = pod, train, max_failures
    self._failures = self._polls_running = self._polls_stuck = self._polls_silent = 0

  def step(self) -> int | None:
    """The exit status if this is the end, None if it is not."""
    try:
      state = request_state(self._pod)
      hosts = host_states(self._pod) if state == "ACTIVE" else Counter()
    except CommandFailed as error:
      self._polls_silent += 1
      _say(str(error))
      return 1 if self._polls_silent >= 10 * self._max_failures else None
    self._polls_silent = 0
    shown = ", ".join(f"{count} {word}" for word, count in hosts.items())
    _say(f"request: {state or 'none'}" + (f"; hosts: {shown}" if hosts else ""))
    try:
      return self._step_hosts(hosts) if hosts else self._step_request(state)
    except CommandFailed as error:
      return self._fail(str(error))

  def _step_request(self, state: str) -> int | None:
    if state == "SUSPENDED":
      self._failures = 0
    elif state == "FAILED" and self._fail("the request could not be served"):
      return 1
    if state in ("SUSPENDED", "FAILED"):
      execute(self._pod.delete())
    if state in ("SUSPENDED", "FAILED", ""):
      execute(self._pod.create())
    return None

  def _step_hosts(self, hosts: Counter[str]) -> int | None:
    if hosts["running"]:
      self._polls_running += 1
      if self._polls_running >= _HEALTHY_POLLS:
        self._failures = 0
      # Hosts train together, so the others should end too; what hangs instead is stopped.
      self._polls_stuck = self._polls_stuck + 1 if len(hosts) > 1 else 0
      if self._polls_stuck >= _STUCK_POLLS:
        self._polls_stuck = 0
        execute(self._pod.stop())
      return None
    self._polls_running = self._polls_stuck = 0
    if set(hosts) == {"finished"}:
      return 0
    wrong = [word for word in hosts if word.startswith("failed") or word == "lost"]
    if wrong and self._fail(f"training ended with {', '.join(wrong)}; see `logs`"):
      return 1
    execute(self._pod.run(self._train))
    return None

  def _fail(self, why: str) -> int | None:
    """Counts a failure; gives the exit status 1 if it is one too many."""
    self._failures += 1
    _say(f"failure {self._failures} of {self._max_failures}: {why}")
    return 1 if self._failures >= self._max_failures else None


def _say(text: str) -> None:
  print(f"{time.strftime('%F %T')} {text}", flush=True)


def watch(options: argparse.Namespace, pod: Pod, train: Sequence[str]) -> int:
  job = Watch(pod, train, options.max_failures)
  while (status := job.step()) is None:
    time.sleep(options.poll_seconds)
  _say("training has finished" if status == 0 else "failed for good")
  if options.delete_at_end:
    execute(pod.delete())
  else:
    _say("the slices are still there, and cost; delete them with: " + pod.delete()[0])
  return status


def show_status(pod: Pod) -> None:
  """Prints what became of the request and, where there are hosts, what each says."""
  state = request_state(pod)
  print(f"request: {state or 'none of this name'}", flush=True)
  if state == "ACTIVE":
    execute([pod.host_states()])


def describe_watch(pod: Pod, train: Sequence[str]) -> list[tuple[str, list[str]]]:
  """What `watch` runs, and when."""
  return [
      ("at each poll", [pod.request_state()]),
      ("if there is no such request", pod.create()),
      ("if it is SUSPENDED (preempted) or FAILED", [*pod.delete(), *pod.create()]),
      ("if it is ACTIVE", [pod.host_states()]),
      ("if training is absent, was stopped or lost, or failed (--max_failures times)", pod.run(train)),
      (f"if some hosts have ended and the others hang for {_STUCK_POLLS} polls", pod.stop()),
  ]


def make_parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
      prog="python -m launch.tpu_pod", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
  )
  commands = parser.add_subparsers(dest="command", required=True)
  helps = {
      "create": "ask for the slices", "run": "send the checkout to all hosts and start training",
      "watch": "create, run, and both again after a preemption, until training has ended",
      "logs": "follow the log", "status": "state of the request and of training on each host",
      "stop": "write a checkpoint and end training; the slices stay", "delete": "give the slices back",
  }
  for name, text in helps.items():
    command = commands.add_parser(name, help=text, allow_abbrev=False)
    command.add_argument("--name", type=arguments.resource_name, required=True, help="name of the queued resource")
    command.add_argument("--zone", type=arguments.matching(r"[a-z]+-[a-z]+\d+-[a-z]", "a zone, such as us-west4-a"),
                         required=True)
    command.add_argument("--project", required=True, type=arguments.matching(
        r"([a-z0-9.-]+:)?[a-z][-a-z0-9]{4,28}[a-z0-9]", "the id of a project"))
    command.add_argument("--dry_run", action="store_true", help="print the commands, run none")
    if name in ("create", "watch"):
      _add_request(command)
    if name in ("run", "watch"):
      arguments.add_training(command)
    if name == "watch":
      command.add_argument("--max_failures", type=arguments.count, default=3, help="give up after so many (default 3)")
      command.add_argument("--poll_seconds", type=float, default=60.0, help="seconds between two looks (default 60)")
      command.add_argument("--delete_at_end", action="store_true", help="delete the slices when training has ended")
    if name == "logs":
      one_or_all = arguments.matching(r"\d+|all", "a number, or all")
      command.add_argument("--node", type=one_or_all, default="0", help="slice: a number, or all (default 0)")
      command.add_argument("--worker", type=one_or_all, default="0", help="host: a number, or all (default 0)")
  return parser


def _add_request(command: argparse.ArgumentParser) -> None:
  def cloud_slice(text: str) -> Slice:
    found = arguments.tpu_slice(text)
    if not found.accelerator_type:
      raise argparse.ArgumentTypeError(f"{text} is offered by GKE only: use python -m launch.gke_jobset")
    return found

  group = command.add_argument_group("slices")
  group.add_argument("--slice", type=cloud_slice, required=True, help="generation and shape in chips: v5e:16x16")
  group.add_argument("--num_slices", type=arguments.count, default=1, help="slices of this shape (default 1)")
  group.add_argument("--spot", action="store_true", help="spot capacity: cheaper, preempted at any time")
  group.add_argument("--runtime_version", type=arguments.matching(r"[a-z0-9][-a-z0-9.]+", "a TPU runtime"),
                     help="image of the hosts (default: the generation's)")
  group.add_argument("--valid_until_duration", help="give up if not served by then: 6h, 90m, 1d12h",
                     type=arguments.matching(r"(\d+[dhms])+", "a duration, such as 6h or 1d12h"))
  group.add_argument("--service_account", help="whom the hosts act as; has to reach the buckets",
                     type=arguments.matching(r"[^@\s]+@[^@\s]+\.[^@\s]+", "the address of a service account"))
  for name in ("network", "subnetwork"):
    group.add_argument(f"--{name}", type=arguments.resource_name)


def main(argv: Sequence[str]) -> int:
  own, extra = arguments.split_at_dashes(argv)
  parser = make_parser()
  options = parser.parse_args(own)
  train = []
  if options.command in ("run", "watch"):
    try:
      train = arguments.training_arguments(options, extra)
    except ValueError as error:
      parser.error(str(error))
  elif extra:
    parser.error(f"{options.command} takes nothing after --")
  if getattr(options, "poll_seconds", 0.0) < 0:
    parser.error("--poll_seconds has to be 0 or more")
  pod = Pod(options)
  steps = {
      "create": pod.create, "run": lambda: pod.run(train), "logs": pod.logs, "stop": pod.stop, "delete": pod.delete,
  }
  if options.dry_run:
    if options.command == "watch":
      lines = [line for when, commands in describe_watch(pod, train) for line in (f"# {when}", *commands)]
    elif options.command == "status":
      lines = [pod.request_state(), "# if it is ACTIVE", pod.host_states()]
    else:
      lines = steps[options.command]()
    print(*lines, sep="\n")
    return 0
  try:
    if options.command == "watch":
      return watch(options, pod, train)
    if options.command == "status":
      show_status(pod)
    else:
      execute(steps[options.command]())
  except CommandFailed as error:
    sys.exit(f"error: {error}")
  same = shlex.join([f"--name={options.name}", f"--zone={options.zone}", f"--project={options.project}"])
  if options.command in ("create", "run"):
    following = {"create": "status", "run": "logs"}[options.command]
    print(f"\nNext: python -m launch.tpu_pod {following} {same}")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
