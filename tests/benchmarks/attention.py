"""Attention side by side: ours, JAX's splash and flash kernels, XLA's softmax; on a GPU also cuDNN.

  python -m tests.benchmarks.attention --chips=v5e,v5p,v6e,7x [--lengths=1024,4096] [--json=FILE]     # static estimates
  python -m tests.benchmarks.attention --measure [--lengths=1024] [--json=FILE]                       # on this machine

Without `--measure` nothing runs: every kernel is compiled by the real TPU compiler and its schedule replayed
(`bsm_jax.static_profile`), forward and backward apart, with what surrounds the kernel (transposes, padding, rotary
positions, which ours does inside). With `--measure` the implementations of this machine's platform are timed in turn,
round by round, and medians printed with their spread.
"""

import functools
import json
import pathlib
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from bsm_jax import static_profile, topology
from bsm_jax.kernels import reference, rotary, rotary_table, tpu

TOPOLOGIES = {"v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2", "7x": "tpu7x:2x2x1"}
TOKENS = 16 * 1024


def documents(batch: int, length: int, mean: int) -> np.ndarray:
  """Segment ids of rows of documents with exponential lengths; `mean` 0 is one document a row."""
  if not mean:
    return np.ones((batch, length), np.int32)
  rng = np.random.default_rng(0)
  starts = rng.random((batch, length)) < 1 / mean
  return (1 + np.cumsum(starts, axis=1)).astype(np.int32)


def token_major(attend):
  """A function of q, k, v [b, h, s, d] and ids as one of qkv [b, s, h, 3, d], rotary positions included."""

  def run(qkv, ids, table):
    q, k, v = rotary.rotate(qkv[:, :, :, 0], table), rotary.rotate(qkv[:, :, :, 1], table), qkv[:, :, :, 2]
    return attend(*(x.swapaxes(1, 2) for x in (q, k, v)), ids).swapaxes(1, 2)

  return run


def splash(q, k, v, ids, *, block: int):
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as mask

  length = q.shape[2]
  sizes = kernel.BlockSizes(
      block_q=block, block_kv=block, block_kv_compute=min(block, 512), block_q_dkv=block, block_kv_dkv=block,
      block_kv_dkv_compute=min(block, 512), use_fused_bwd_kernel=True,
  )  # fmt: skip
  causal = mask.MultiHeadMask([mask.CausalMask((length, length))] * q.shape[1])
  attend = kernel.make_splash_mha(causal, head_shards=1, q_seq_shards=1, block_sizes=sizes)
  return jax.vmap(attend)(q * q.shape[-1] ** -0.5, k, v, kernel.SegmentIds(ids, ids))


def flash(q, k, v, ids, *, block: int):
  from jax.experimental.pallas.ops.tpu import flash_attention as kernel

  sizes = kernel.BlockSizes(
      block_q=block, block_k_major=block, block_k=block, block_b=1, block_q_major_dkv=block, block_k_major_dkv=block,
      block_k_dkv=block, block_q_dkv=block, block_k_major_dq=block, block_k_dq=block, block_q_dq=block,
  )  # fmt: skip
  segments = kernel.SegmentIds(ids, ids)
  return kernel.flash_attention(
      q, k, v, segment_ids=segments, causal=True, sm_scale=q.shape[-1] ** -0.5, block_sizes=sizes
  )


def plain(q, k, v, ids):
  return reference.attention(*(x.swapaxes(1, 2) for x in (q, k, v)), ids).swapaxes(1, 2)


PEERS = {
    "splash 512": functools.partial(splash, block=512),
    "splash 1024": functools.partial(splash, block=1024),
    "flash 512": functools.partial(flash, block=512),
    "flash 1024": functools.partial(flash, block=1024),
    "XLA": plain,
}


def cases(heads: int, head_dim: int, length: int, device_kind: str):
  """Name to (function of qkv, ids and table; shape of qkv)."""
  batch = TOKENS // length
  ours = functools.partial(tpu.attention, head_dim=head_dim, device_kind=device_kind)
  found = {"ours": (ours, (heads * 3 * head_dim, TOKENS))}
  for name, attend in PEERS.items():
    found[name] = (token_major(attend), (batch, length, heads, 3, head_dim))
  return found


def estimate(chip: str, heads: int, head_dim: int, length: int, means: list[int]) -> list[dict]:
  """Static estimates of every implementation on one chip."""
  device = topology.devices(TOPOLOGIES[chip])[0]
  batch, rows = TOKENS // length, []
  shape = jax.ShapeDtypeStruct
  ids, table = shape((batch, length), jnp.int32), shape((batch, 2 * head_dim, length), jnp.float32)
  for name, (attend, of_qkv) in cases(heads, head_dim, length, device.device_kind).items():
    qkv = shape(of_qkv, jnp.bfloat16)
    out = jax.eval_shape(attend, qkv, ids, table)

    def backward(qkv, ids, table, cotangent, attend=attend):
      return jax.vjp(lambda x: attend(x, ids, table), qkv)[1](cotangent)[0]

    for mean in means if name == "ours" else means[:1]:
      known = tpu.scalars_of(jnp.asarray(documents(batch, length, mean)), device.device_kind) if name == "ours" else {}
      row = {"chip": chip, "heads": heads, "head_dim": head_dim, "length": length, "implementation": name,
             "mean_document": mean}  # fmt: skip
      try:
        for part, function, arguments in (
            ("forward", attend, (qkv, ids, table)),
            ("both", backward, (qkv, ids, table, out)),
        ):
          row[part] = cost(function, arguments, TOPOLOGIES[chip], known)
      except (NotImplementedError, ValueError, jax.errors.JaxRuntimeError) as error:
        row["error"] = str(error).splitlines()[0][:100]
      rows.append(row)
      print(line(row), flush=True)
  return rows


def cost(function, arguments, name: str, known: dict) -> dict:
  """Cycles of the kernels, and milliseconds of everything."""
  find = lambda kernel: next((value for key, value in known.items() if key in kernel), None)
  # A kernel's name in the program carries the transformations around it: first without its scalars, to learn the name.
  profile = static_profile.profile(function, arguments, name)
  scalars = {kernel: find(kernel) for kernel in profile.kernels if find(kernel) is not None}
  if scalars:
    profile = static_profile.profile(function, arguments, name, scalars=scalars)
  return {"kernels": profile.kernels, "milliseconds": 1e3 * profile.seconds}


def line(row: dict) -> str:
  shape = f"{row['heads']:3d} x {row['head_dim']:<4d} S {row['length']:5d}"
  label = f"{row['chip']:>4} {shape}  {row['implementation']:12s}"
  documents_of = f"documents of {row['mean_document']}" if row["mean_document"] else "one document"
  if "error" in row:
    return f"{label} {documents_of:18s} {row['error']}"
  forward, both = row["forward"], row["both"]
  first, every = sum(forward["kernels"].values()), sum(both["kernels"].values())
  back = {k: v for k, v in both["kernels"].items() if "forward" not in k}
  last = sum(back.values()) if row["implementation"] == "ours" else every - first
  return (
      f"{label} {documents_of:18s} kernels: forward {first / 1e6:6.3f}M, backward {last / 1e6:6.3f}M cycles;"
      f" in all: forward {forward['milliseconds']:6.3f} ms, both {both['milliseconds']:6.3f} ms"
  )


def measure(heads: int, head_dim: int, length: int, rounds: int) -> list[dict]:
  """Times of forward and backward on this machine, in turn, round by round."""
  from bsm_jax.kernels import gpu, gpu_cudnn

  batch = TOKENS // length
  ids = jnp.asarray(documents(batch, length, 400))
  table = rotary_table(jnp.arange(length)[None].repeat(batch, 0), head_dim, 100_000.0)
  untransposed = lambda attend: token_major(
      lambda q, k, v, ids: attend(*(x.swapaxes(1, 2) for x in (q, k, v)), ids).swapaxes(1, 2)
  )
  tpus = cases(heads, head_dim, length, jax.devices()[0].device_kind)
  by_platform = {
      "gpu": {"ours": untransposed(gpu.attention), "cuDNN": untransposed(gpu_cudnn.attention),
              "XLA": token_major(plain)},
      "tpu": {name: attend for name, (attend, _) in tpus.items()},
      "cpu": {"XLA": token_major(plain)},
  }  # fmt: skip
  steps = {}
  for name, attend in by_platform[jax.default_backend()].items():
    shape = (heads * 3 * head_dim, TOKENS) if name == "ours" and jax.default_backend() == "tpu" else (
        batch, length, heads, 3, head_dim)
    qkv = jax.random.normal(jax.random.key(0), shape, jnp.bfloat16)
    step = jax.jit(jax.grad(lambda x, attend=attend: attend(x, ids, table).astype(jnp.float32).sum()))
    steps[name] = functools.partial(step, qkv)
    jax.block_until_ready(steps[name]())
  seconds = {name: [] for name in steps}
  for _ in range(rounds):
    for name, step in steps.items():
      start = time.perf_counter()
      jax.block_until_ready(step())
      seconds[name].append(time.perf_counter() - start)
  best = statistics.median(seconds[next(iter(seconds))])
  rows = []
  for name, values in seconds.items():
    median = statistics.median(values)
    print(f"{heads:3d} x {head_dim:<4d} S {length:5d}  {name:12s} forward and backward {1e3 * median:8.3f} ms"
          f" ({1e3 * min(values):.3f} .. {1e3 * max(values):.3f}), {median / best:.2f} x the first")  # fmt: skip
    rows.append({"device": jax.devices()[0].device_kind, "heads": heads, "head_dim": head_dim, "length": length,
                 "implementation": name, "seconds": values})  # fmt: skip
  return rows


def main(argv) -> None:
  del argv
  args = flags.FLAGS
  rows = []
  for length in (int(x) for x in args.lengths):
    for heads, head_dim in (tuple(int(n) for n in shape.split("x")) for shape in args.shapes):
      if args.measure:
        rows += measure(heads, head_dim, length, args.rounds)
        continue
      for chip in args.chips:
        rows += estimate(chip, heads, head_dim, length, [int(x) for x in args.documents])
  if args.json:
    pathlib.Path(args.json).write_text(json.dumps({"jax": jax.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
  flags.DEFINE_list("chips", ["v5e"], f"Of {sorted(TOPOLOGIES)}.")
  flags.DEFINE_list("lengths", ["1024"], "Tokens of a sequence; there are 16,384 in all.")
  flags.DEFINE_list("shapes", ["12x64", "16x56"], "Heads x head_dim.")
  flags.DEFINE_list("documents", ["0", "100"], "Mean lengths of documents that ours is estimated for; 0: one a row.")
  flags.DEFINE_bool("measure", False, "Time this machine's implementations instead.")
  flags.DEFINE_integer("rounds", 20, "Rounds of --measure.")
  flags.DEFINE_string("json", None, "Write all figures here.")
  app.run(main)
