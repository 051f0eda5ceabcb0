"""Joins the processes of a run: one on each host, each with its own devices, all of them running the same program."""

import jax


class JoinError(RuntimeError):
  """The other processes cannot be found; the message names the remedy."""


def join(coordinator: str | None = None, num_hosts: int | None = None, host: int | None = None,
         heartbeat_seconds: int = 100) -> None:  # fmt: skip
  """Connects this process to the others; call it before anything else of JAX.

  Args:
    coordinator: `HOST:PORT` of host 0; None where the cluster tells (Cloud TPU, GKE, Slurm, Open MPI).
    num_hosts, host: how many processes there are, and which one this is, from 0; likewise.
    heartbeat_seconds: a process that says nothing for so long is taken for dead, and all the others end with an error.

  Raises:
    JoinError: nothing was given and no cluster was found, or the coordinator does not answer.
  """
  # JAX would answer SIGTERM by itself; `bsm_jax.train` does, the same on one host and on many.
  jax.config.update("jax_enable_preemption_service", False)
  try:
    jax.distributed.initialize(coordinator, num_hosts, host, heartbeat_timeout_seconds=heartbeat_seconds)
  except (ValueError, RuntimeError) as error:
    raise JoinError(
        f"--multihost: {error}\nUnless this is a Cloud TPU, GKE, Slurm or Open MPI job, give the same"
        " --coordinator=HOST:PORT and --num_hosts=N, and --host=I from 0 to N - 1, to each process."
    ) from error
