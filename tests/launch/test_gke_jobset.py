"""launch/gke_jobset.py: the manifest against the published JobSet schema, and a kubectl that only listens."""

import json
import pathlib

import jsonschema
import pytest

from launch import gke_jobset

SCHEMA = json.loads((pathlib.Path(__file__).parent / "jobset_schema.json").read_text())
ARGUMENTS = [
  "--name=bsm",
  "--slice=v5e:16x16",
  "--image=europe-west4-docker.pkg.dev/p/r/bsm_jax:tpu",
  "--config=configs/bsm_110m.py",
  "--rows=gs://bucket/rows",
  "--workdir=gs://bucket/runs/bsm_110m",
]


@pytest.fixture
def manifest(nothing_was_called, capsys):
  """The manifest that --dry_run prints for further arguments, valid by the schema."""

  def make(*more: str) -> dict:
    assert gke_jobset.main([*ARGUMENTS, "--dry_run", *more]) == 0
    assert nothing_was_called()
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, SCHEMA)
    return found

  return make


def job_of(manifest: dict) -> dict:
  (replicated,) = manifest["spec"]["replicatedJobs"]
  return replicated["template"]["spec"]


def pod_of(manifest: dict) -> dict:
  return job_of(manifest)["template"]["spec"]


def test_the_schema_is_one_and_refuses_fields_that_the_api_does_not_know(manifest):
  jsonschema.Draft202012Validator.check_schema(SCHEMA)
  wrong = manifest()
  job_of(wrong)["completion"] = 64
  with pytest.raises(jsonschema.ValidationError, match="'completion' was unexpected"):
    jsonschema.validate(wrong, SCHEMA)


def test_two_spot_slices_as_a_user_reads_them(manifest):
  assert manifest("--num_slices=2", "--spot", "--service_account=trainer", "--", "--config.seed=1") == {
    "apiVersion": "jobset.x-k8s.io/v1alpha2",
    "kind": "JobSet",
    "metadata": {
      "name": "bsm",
      "namespace": "default",
      "annotations": {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"},
    },
    "spec": {
      "network": {"enableDNSHostnames": True, "subdomain": "bsm"},
      "failurePolicy": {
        "maxRestarts": 10,
        "rules": [
          {
            "name": "preempted",
            "action": "RestartJobSetAndIgnoreMaxRestarts",
            "onJobFailureReasons": ["PodFailurePolicy"],
          }
        ],
      },
      "replicatedJobs": [
        {
          "name": "slice",
          "replicas": 2,
          "template": {
            "spec": {
              "completionMode": "Indexed",
              "parallelism": 64,
              "completions": 64,
              "backoffLimit": 0,
              "podFailurePolicy": {
                "rules": [
                  {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                  {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [130]}},
                ]
              },
              "template": {
                "spec": {
                  "restartPolicy": "Never",
                  "terminationGracePeriodSeconds": 120,
                  "nodeSelector": {
                    "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
                    "cloud.google.com/gke-tpu-topology": "16x16",
                    "cloud.google.com/gke-spot": "true",
                  },
                  "tolerations": [
                    {
                      "key": "cloud.google.com/gke-spot",
                      "operator": "Equal",
                      "value": "true",
                      "effect": "NoSchedule",
                    }
                  ],
                  "securityContext": {"runAsUser": 0},
                  "serviceAccountName": "trainer",
                  "containers": [
                    {
                      "name": "train",
                      "image": "europe-west4-docker.pkg.dev/p/r/bsm_jax:tpu",
                      "args": [
                        "--multihost",
                        "--config=configs/bsm_110m.py",
                        "--config.data.root=gs://bucket/rows",
                        "--workdir=gs://bucket/runs/bsm_110m",
                        "--config.seed=1",
                      ],
                      "env": [{"name": "PYTHONUNBUFFERED", "value": "1"}],
                      "resources": {"requests": {"google.com/tpu": 4}, "limits": {"google.com/tpu": 4}},
                      "volumeMounts": [{"name": "shared-memory", "mountPath": "/dev/shm"}],
                    }
                  ],
                  "volumes": [{"name": "shared-memory", "emptyDir": {"medium": "Memory"}}],
                }
              },
            }
          },
        }
      ],
    },
  }


@pytest.mark.parametrize(
  ("text", "more", "accelerator", "hosts", "chips"),
  [
    ("v5e:1x1", [], "tpu-v5-lite-podslice", 1, 1),
    ("v5e:2x4", [], "tpu-v5-lite-podslice", 2, 4),
    ("v5e:2x4", ["--chips_per_host=8"], "tpu-v5-lite-podslice", 1, 8),
    ("v6e:8x8", [], "tpu-v6e-slice", 16, 4),
    ("v5p:4x4x4", [], "tpu-v5p-slice", 16, 4),
    ("v4:2x2x2", [], "tpu-v4-podslice", 2, 4),
    ("tpu7x:2x2x1", [], "tpu7x", 1, 4),
  ],
)
def test_a_slice_is_as_many_pods_as_it_has_hosts(manifest, text, more, accelerator, hosts, chips):
  found = manifest(f"--slice={text}", *more)
  assert job_of(found)["parallelism"] == job_of(found)["completions"] == hosts
  assert pod_of(found)["containers"][0]["resources"]["limits"] == {"google.com/tpu": chips}
  assert pod_of(found)["nodeSelector"] == {
    "cloud.google.com/gke-tpu-accelerator": accelerator,
    "cloud.google.com/gke-tpu-topology": text.split(":")[1],
  }


def test_restarts_grace_and_namespace_are_as_given(manifest):
  found = manifest("--max_restarts=3", "--grace_seconds=600", "--namespace=research")
  assert found["spec"]["failurePolicy"]["maxRestarts"] == 3
  assert pod_of(found)["terminationGracePeriodSeconds"] == 600
  assert found["metadata"]["namespace"] == "research"


@pytest.mark.parametrize(
  ("wrong", "expected"),
  [
    (["--name=-bsm"], "is not a name"),
    (["--slice=v5e:5x5"], "is no shape of v5e"),
    (["--image=bsm_jax"], "not an image as"),
    (["--image=europe-docker.pkg.dev/p/r/bsm_jax"], "not an image as"),
    (["--workdir=/runs"], "not a folder in a bucket"),
    (["--rows=rows"], "every host can read"),
    (["--config=configs/none.py"], "no config of this checkout"),
    (["--chips_per_host=8"], "have no such hosts"),
    (["--chips_per_host=1"], "have no such hosts"),
    (["--chips_per_host=3"], "invalid choice"),
    (["--slice=v5e:2x2", "--num_slices=2"], "slices of several hosts only"),
    (["--grace_seconds=0"], "not a number of 1 or more"),
    (["--context=a b"], "not the name of a kubectl context"),
    (["--", "--multihost=false"], "--multihost after -- would replace"),
    (["--", "configs"], "no argument of bsm_jax.train"),
  ],
)
def test_a_wrong_argument_is_refused_before_kubectl_is_called(nothing_was_called, capsys, wrong, expected):
  with pytest.raises(SystemExit, match="2"):
    gke_jobset.main([*ARGUMENTS, *wrong])
  assert expected in capsys.readouterr().err
  assert nothing_was_called()


def test_kubectl_gets_the_manifest_that_the_dry_run_prints(stand, manifest):
  printed = manifest()
  stand.add("kubectl", 'cat >"$STAND/manifest.json"')
  done = stand.python("launch.gke_jobset", *ARGUMENTS, "--context=gke_p_z_c")
  assert done.returncode == 0, done.stderr
  assert stand.calls("kubectl") == ["--context=gke_p_z_c apply -f -"]
  assert json.loads((stand.folder / "manifest.json").read_text()) == printed
  assert "--namespace=default logs --follow job/bsm-slice-0" in done.stdout


def test_an_error_of_kubectl_is_an_error(stand):
  done = stand.python("launch.gke_jobset", *ARGUMENTS)
  assert done.returncode == 1
  assert "kubectl ended with status 99" in done.stderr
