"""Trains on TPU slices of a GKE cluster, as a JobSet: one Job a slice, one Pod a host.

  python -m launch.gke_jobset --name=bsm --slice=v5e:16x16 --image=REGION-docker.pkg.dev/P/R/bsm_jax:tpu \
      --config=configs/bsm_110m.py --rows=gs://B/rows --workdir=gs://B/runs/bsm_110m [-- --config.KEY=VALUE ...]

Makes the manifest and gives it to `kubectl apply`; `--dry_run` only prints it. Needs kubectl with the cluster as its
current context (or --context), the JobSet controller in the cluster (v0.6 or newer), an image of launch/Dockerfile, and
a node pool of the slice's topology for each slice. A Pod that goes with its node restarts all Jobs, as often as that
happens; one that ends with an error does so `--max_restarts` times. Training then goes on from its last checkpoint.

GKE tells every Pod which host of which slice it is (TPU_WORKER_ID, TPU_WORKER_HOSTNAMES and, of several slices,
MEGASCALE_*), because the Jobs are indexed, have a headless service and ask for google.com/tpu; JAX reads them.
Checked against the published JobSet schema; no cluster has run it yet.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence

from launch import arguments

# bsm_jax.train's exit status after a signal, with a checkpoint.
_STOPPED = 130


def make_manifest(options: argparse.Namespace, train: Sequence[str]) -> dict:
  """The JobSet (jobset.x-k8s.io/v1alpha2) of a run.

  Args:
    options: what `make_parser` parses.
    train: arguments of bsm_jax.train, which the image starts.
  """
  chips = options.chips_per_host
  hosts = options.slice.chips // chips
  selector = {
      "cloud.google.com/gke-tpu-accelerator": options.slice.generation.gke_accelerator,
      "cloud.google.com/gke-tpu-topology": options.slice.shape,
  }
  tolerations = []
  if options.spot:
    selector["cloud.google.com/gke-spot"] = "true"
    tolerations = [{"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}]
  container = {
      "name": "train",
      "image": options.image,
      "args": list(train),
      "env": [{"name": "PYTHONUNBUFFERED", "value": "1"}],
      "resources": {"requests": {"google.com/tpu": chips}, "limits": {"google.com/tpu": chips}},
      # Data workers hand batches over in shared memory; a container has 64 MB of it otherwise.
      "volumeMounts": [{"name": "shared-memory", "mountPath": "/dev/shm"}],
  }
  pod = {
      "restartPolicy": "Never",
      "terminationGracePeriodSeconds": options.grace_seconds,
      "nodeSelector": selector,
      "tolerations": tolerations,
      # The image's user is not root, to whom the TPU's device files belong.
      "securityContext": {"runAsUser": 0},
      "containers": [container],
      "volumes": [{"name": "shared-memory", "emptyDir": {"medium": "Memory"}}],
  }
  if options.service_account:
    pod["serviceAccountName"] = options.service_account
  job = {
      "completionMode": "Indexed",
      "parallelism": hosts,
      "completions": hosts,
      # One host cannot come back alone: the JobSet restarts them all.
      "backoffLimit": 0,
      "podFailurePolicy": {
          "rules": [
              {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
              {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [_STOPPED]}},
          ],
      },
      "template": {"spec": pod},
  }
  return {
      "apiVersion": "jobset.x-k8s.io/v1alpha2",
      "kind": "JobSet",
      "metadata": {
          "name": options.name,
          "namespace": options.namespace,
          # One Job a node pool, which is one slice.
          "annotations": {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"},
      },
      "spec": {
          "network": {"enableDNSHostnames": True, "subdomain": options.name},
          "failurePolicy": {
              "maxRestarts": options.max_restarts,
              "rules": [{
                  "name": "preempted",
                  "action": "RestartJobSetAndIgnoreMaxRestarts",
                  "onJobFailureReasons": ["PodFailurePolicy"],
              }],
          },
          "replicatedJobs": [{"name": "slice", "replicas": options.num_slices, "template": {"spec": job}}],
      },
  }


def make_parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
      prog="python -m launch.gke_jobset", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
  )
  add = parser.add_argument
  add("--name", type=arguments.resource_name, required=True, help="name of the JobSet")
  add("--namespace", type=arguments.resource_name, default="default")
  add("--context", help="kubectl's context (default: its current one)",
      type=arguments.matching(r"[-\w.:/@]+", "the name of a kubectl context"))
  add("--slice", type=arguments.tpu_slice, required=True, help="generation and shape in chips: v5e:16x16")
  add("--num_slices", type=arguments.count, default=1, help="slices, each a node pool of its own (default 1)")
  add("--chips_per_host", type=int, choices=(1, 4, 8), help="of the node pool's machines (default 4; 1 for 1x1)")
  add("--spot", action="store_true", help="on spot nodes only")
  add("--image", required=True, help="image of launch/Dockerfile, with its registry and a tag or digest",
      type=arguments.matching(r"[-a-z0-9.]+(:\d+)?(/[-\w.]+)+(:[\w][-\w.]*|@sha256:[0-9a-f]{64})",
                              "an image as REGISTRY/PATH:TAG or REGISTRY/PATH@sha256:DIGEST"))
  add("--service_account", type=arguments.resource_name,
      help="Kubernetes service account, bound to one that reaches the buckets")
  add("--grace_seconds", type=arguments.count, default=120, help="from SIGTERM to SIGKILL (default 120)")
  add("--max_restarts", type=arguments.count, default=10, help="after errors; preemptions do not count (default 10)")
  add("--dry_run", action="store_true", help="print the manifest and the command, run nothing")
  arguments.add_training(parser)
  return parser


def main(argv: Sequence[str]) -> int:
  own, extra = arguments.split_at_dashes(argv)
  parser = make_parser()
  options = parser.parse_args(own)
  chips = options.slice.chips
  options.chips_per_host = options.chips_per_host or min(chips, 4)
  if chips % options.chips_per_host or (options.chips_per_host != 4 and chips != options.chips_per_host):
    parser.error(f"--chips_per_host={options.chips_per_host}: slices of {options.slice.shape} have no such hosts; those"
                 " of several hosts have 4 chips in each")
  if options.num_slices > 1 and chips == options.chips_per_host:
    parser.error(f"GKE joins slices of several hosts only; {options.slice.shape} is one host. Give a larger --slice")
  try:
    train = arguments.training_arguments(options, extra)
  except ValueError as error:
    parser.error(str(error))
  manifest = json.dumps(make_manifest(options, train), indent=2) + "\n"
  kubectl = ["kubectl", *([f"--context={options.context}"] if options.context else [])]
  apply = [*kubectl, "apply", "-f", "-"]
  if options.dry_run:
    print(manifest, end="", flush=True)
    print(f"+ {shlex.join(apply)}", file=sys.stderr)
    return 0
  print(f"+ {shlex.join(apply)}", file=sys.stderr, flush=True)
  try:
    status = subprocess.run(apply, input=manifest, text=True).returncode
  except FileNotFoundError:
    sys.exit("error: there is no kubectl on PATH: install it (gcloud components install kubectl)")
  if status:
    sys.exit(f"error: kubectl ended with status {status}; nothing is running that was not before")
  space = f"--namespace={options.namespace}"
  first = f"job/{options.name}-slice-0"
  print(f"Next: {shlex.join([*kubectl, space, 'logs', '--follow', first])}\n"
        f"To end: {shlex.join([*kubectl, space, 'delete', 'jobset', options.name])}")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
