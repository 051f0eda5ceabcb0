"""A profile as text."""

import dataclasses

from bsm_jax.static_profile.estimate import OpCost, Profile, kernel_name


def grouped(profile: Profile) -> list[OpCost]:
  """Ops of equal name, origin and cost added up (the layers of an unrolled model); the dearest first."""
  groups: dict[tuple, OpCost] = {}
  for op in profile.ops:
    name = kernel_name(op.name)
    key = (name, op.op_name, op.cycles, op.hbm_bytes)
    if key in groups:
      before = groups[key]
      op = dataclasses.replace(
          before,
          name=name,
          times=before.times + op.times,
          seconds_issue=before.seconds_issue + op.seconds_issue,
          seconds=before.seconds + op.seconds,
      )
    groups[key] = op
  return sorted(groups.values(), key=lambda op: -op.seconds)


def table(profile: Profile, *, top: int = 20) -> str:
  """The dearest ops, the kernels, and the totals, as plain text.

  Args:
    profile: see `bsm_jax.static_profile.profile`.
    top: how many ops.
  """
  ops = grouped(profile)
  lines = [f"{'share':>6} {'ms':>9} {'issue ms':>9} {'HBM ms':>9} {'times':>6}  op"]
  for op in ops[:top]:
    hbm = 1e3 * op.times * op.hbm_bytes / profile.chip.hbm_bandwidth
    mark = "" if op.is_replayed or not op.cycles else " [XLA's cycles]"
    lines.append(
        f"{op.seconds / profile.seconds:6.1%} {1e3 * op.seconds:9.3f} {1e3 * op.seconds_issue:9.3f} {hbm:9.3f}"
        f" {op.times:6d}  {op.name}  {(op.op_name or op.opcode)[-80:]}{mark}"
    )
  kernels = [op for op in ops if op.is_kernel]
  if kernels:
    lines.append(f"\n{'Mcycles':>9} {'ms':>9} {'times':>6}  kernel, and the issue slots that it uses")
  for op in kernels:
    slots = ", ".join(f"{name} {share:.0%}" for name, share in op.slots.items() if share >= 0.005)
    lines.append(f"{op.times * op.cycles / 1e6:9.3f} {1e3 * op.seconds_issue:9.3f} {op.times:6d}  {op.name}  {slots}")
  lines.append(
      f"\nstatic estimate for {profile.chip.name}: issue-bound {1e3 * profile.seconds_issue:.2f} ms,"
      f" with HBM {1e3 * profile.seconds:.2f} ms ({profile.hbm_bytes / 1e9:.2f} GB moved)"
  )
  lines += [f"warning: {text}" for text in profile.warnings]
  return "\n".join(lines)
