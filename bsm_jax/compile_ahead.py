"""Compiles train's own step for TPUs that are not there, and says what it needs and what it should cost.

  python -m bsm_jax.compile_ahead --config=configs/bsm_110m.py --topology=v5e:16x16 [--static_profile] [--save=FILE]

Needs libtpu (`pip install 'bsm_jax[tpu]'`), no TPU. `data.batch_size` is the global batch, cut into `accumulation`
microbatches; `--rows_per_device=N` replaces it by N rows a device and microbatch. Any setting is overridden as in
`bsm_jax.train` (`--config.mesh.fsdp=4`). Where the step does not fit, remedies are tried and the process exits with 1.

Step time and MFU are static estimates: from XLA's cycle estimates and HBM's bandwidth, or with `--static_profile` from
the replayed schedule (`bsm_jax.static_profile`). `--save` writes the executable for `bsm_jax.ahead.executable.load`.
"""

import dataclasses
import json
import logging
import sys

import jax
from absl import app, flags
from absl import logging as absl_logging
from etils import epath
from ml_collections import ConfigDict, config_flags

from bsm_jax import sharding, static_profile, topology
from bsm_jax.ahead import executable
from bsm_jax.ahead.remedies import Remedy, try_remedies
from bsm_jax.ahead.step import CompiledStep, DoesNotFitError, compile_step
from bsm_jax.training.program import ConfigError, with_mixtures


def _size(count: float) -> str:
  """Bytes for a reader."""
  for unit in ("B", "KiB", "MiB"):
    if count < 1024:
      return f"{count:.4g} {unit}"
    count /= 1024
  return f"{count:.2f} GiB"


def describe(step: CompiledStep, topology_name: str) -> str:
  """A compiled step as text: what was compiled, memory, work, communication, and the estimate."""
  program, profile, memory = step.program, step.profile, step.profile.memory
  batch, context = program.abstract_batch["tokens"].shape
  parts = ", ".join(f"{name} {_size(count)}" for name, count in dataclasses.asdict(memory).items())
  lines = [
      f"{topology_name}: {program.mesh.size} devices ({step.chip.name}) as {sharding.shape_text(program.mesh)};"
      f" {batch} rows of {context} a step, {step.rows} a device and microbatch",
      f"compiled in {profile.compile_seconds:.1f} s",
      f"HBM a device: {_size(memory.total)} of {_size(step.chip.hbm_bytes)}, fits ({parts}; aliased counts once)",
      f"FLOPs a device and step, analytic: {step.flops[0]:.4g}, causal attention halved; {step.flops[1]:.4g} in full",
      "",
      f"{'collective':<20} {'axes':<14} {'times':>6} {'bytes':>12} {'ms if nothing overlaps':>23}",
  ]
  for c in step.communication:
    axes = ",".join(c.axes) or "-"
    lines.append(f"{c.kind:<20} {axes:<14} {c.executions:6d} {_size(c.bytes):>12} {1e3 * c.seconds:23.3f}")
  total = 1e3 * sum(c.seconds for c in step.communication)
  source = "the replayed schedule" if step.replayed else "XLA's estimates of cycles, and HBM's bandwidth"
  # Without their schedule nothing is known of Pallas kernels but the bytes that they move.
  bound = any(op.is_kernel and not op.cycles for op in profile.ops)
  least, most = ("at least ", "at most ") if bound else ("", "")
  return "\n".join([
      *lines,
      f"collectives, if nothing overlaps: {total:.2f} ms (rings at full link bandwidth); not in the step time below",
      "",
      f"step time {least}{1e3 * profile.seconds:.2f} ms, MFU {most}{step.mfu[0]:.1%} (attention in full:"
      f" {step.mfu[1]:.1%}), {step.tokens_per_second:,.0f} tokens/s a device: static estimate from {source}",
  ])


def as_json(step: CompiledStep, topology_name: str) -> dict:
  """The figures of `describe` and of the profile, for a file. Sizes in bytes, times in seconds."""
  profile = step.profile
  return {
      "topology": topology_name,
      "chip": step.chip.name,
      "mesh": dict(step.program.mesh.shape),
      "batch_size": step.program.abstract_batch["tokens"].shape[0],
      "context": step.program.abstract_batch["tokens"].shape[1],
      "rows_per_device": step.rows,
      "compile_seconds": profile.compile_seconds,
      "memory": dataclasses.asdict(profile.memory) | {"total": profile.memory.total, "available": step.chip.hbm_bytes},
      "flops_per_device": dict(zip(("causal", "full"), step.flops)),
      "collectives": [dataclasses.asdict(c) for c in step.communication],
      "static_estimate": {
          "replayed": step.replayed,
          "seconds": profile.seconds,
          "seconds_issue": profile.seconds_issue,
          "hbm_bytes": profile.hbm_bytes,
          "mfu": dict(zip(("causal", "full"), step.mfu)),
          "tokens_per_second_per_device": step.tokens_per_second,
          "kernel_cycles": profile.kernels,
          "ops": [dataclasses.asdict(op) for op in static_profile.grouped(profile)[:100]],
          "warnings": profile.warnings,
      },
  }


def advice(tried: list[Remedy], available: float) -> str:
  """The three best of the remedies that were tried."""
  if not tried:
    return "Nothing is left to try: use a larger topology, or chips with more memory."
  lines = ["The best remedies, as tried (speeds are static estimates):"]
  for remedy in tried[:3]:
    need = "more" if remedy.needed is None else _size(remedy.needed)
    speed = f"fits, {remedy.tokens_per_second:,.0f} tokens/s a device" if remedy.tokens_per_second else "does not fit"
    lines.append(f"  {remedy.flags}: needs {need} of {_size(available)}, {speed}")
  return "\n".join(lines)


def compile_ahead(config: ConfigDict, args) -> int:
  """Compiles, prints, and writes the files asked for.

  Args:
    config: a run's config.
    args: the flags of this command.

  Returns:
    the exit status.
  """
  where = {"num_slices": args.num_slices, "rows": args.rows_per_device}
  try:
    step = compile_step(config, args.topology, replay=args.static_profile, **where)
  except DoesNotFitError as error:
    print(f"{args.topology}: {error}")
    tried = try_remedies(config, args.topology, **where)
    print(advice(tried, error.available))
    return 1
  print(describe(step, args.topology))
  if args.static_profile:
    print("\n" + static_profile.table(step.profile, top=args.top))
  elif step.profile.warnings:
    print("\n".join(f"warning: {text}" for text in step.profile.warnings))
  if args.json:
    epath.Path(args.json).write_text(json.dumps(as_json(step, args.topology), indent=2) + "\n")
  if args.save:
    executable.save(args.save, step.executable, step.program)
    print(f"saved {args.save}; on the TPU hosts: bsm_jax.ahead.executable.load({args.save!r}, program)")
  return 0


def main(argv) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
  absl_logging.set_verbosity(absl_logging.WARNING)
  logging.getLogger("bsm_jax").setLevel(logging.INFO)
  try:
    sys.exit(compile_ahead(with_mixtures(flags.FLAGS.config), flags.FLAGS))
  except (ConfigError, topology.TopologyError) as error:
    sys.exit(f"error: {error}")


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "The run's config file.", lock_config=True)
  flags.DEFINE_string("topology", None, f"TPU generation and shape in chips: {topology.EXAMPLES}.")
  flags.DEFINE_integer("num_slices", 1, "Slices of this topology, joined by the data centre's network.", lower_bound=1)
  flags.DEFINE_integer("rows_per_device", None, "Rows a device and microbatch: sets data.batch_size.", lower_bound=1)
  flags.DEFINE_bool("static_profile", False, "Replay the compiler's schedule, and print the dearest ops.")
  flags.DEFINE_integer("top", 25, "Ops to print with --static_profile.", lower_bound=1)
  flags.DEFINE_string("save", None, "File for the executable.")
  flags.DEFINE_string("json", None, "File for all figures.")
  flags.mark_flags_as_required(["config", "topology"])
  # This process compiles for TPUs that it does not have; a GPU or TPU of this host would only be in the way.
  jax.config.update("jax_platforms", "cpu")
  app.run(main)
