"""The static profile: replayed bundles, HLO, and what libtpu's schedule says about small programs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from bsm_jax import hardware, sharding, static_profile, topology
from bsm_jax.static_profile import collectives, estimate, hlo, replay

V5E = hardware.chip_of("TPU v5 lite")
V5P = hardware.chip_of("TPU v5")
NO_MEMORY = static_profile.Memory(0, 0, 0, 0, 0)

# --- bundles


def program(*bundles: str) -> replay.Program:
  """A schedule of these bundles, written as libtpu writes them."""
  return replay.Program("= key\n\n" + "".join(f" {k:#x}   : > {{ {b} }} /* region */\n" for k, b in enumerate(bundles)))


LOOP = (
    "%s1_s0 = smov 0 /* copy for cssa */",
    "%v9_v1 = vadd.f32 %v8_v0, %v8_v0  ;;  %s3_s0 = sadd.s32 1, %s2_s0  ;;  %s2_s0 = sphi %s1_s0, %s3_s0 /* index */",
    "%p4_p0 = scmp.ge.s32.totalorder %s3_s0, 3 /* loop exit test */",
    "%5 = sbr.rel (!%p4_p0) target bundleno = 1 (0x1), region = 2",
    *[""] * 4,
    "%6 = vst [vmem:[#allocation1]] %v9_v1",
)


def test_a_loop_issues_its_bundles_and_delay_slots_once_a_turn():
  found = program(*LOOP).replay()
  assert (found.cycles, found.unknown) == (1 + 3 * 7 + 1, ())
  assert found.counts.tolist() == [1, *[3] * 7, 1]


def test_a_loop_that_does_not_end_is_an_error():
  forever = [b.replace("%s3_s0, 3", "%s3_s0, 0").replace("!%p4", "%p4") for b in LOOP]
  with pytest.raises(replay.ReplayError, match="after 1000 cycles"):
    program(*forever).replay(limit=1000)


def test_instructions_of_a_bundle_read_before_any_of_them_writes():
  swapped = (
      "%s1_s0 = smov 7  ;;  %s2_s1 = smov 5",
      "%s3_s0 = smov %s2_s1  ;;  %s4_s1 = smov %s1_s0",
      "%p5_p0 = scmp.eq.s32.totalorder %s3_s0, 5  ;;  %p6_p1 = scmp.eq.s32.totalorder %s4_s1, 7",
      "%p7_p2 = pand %p5_p0, %p6_p1",
      "%8 = sbr.rel (%p7_p2) target bundleno = 10 (0xa), region = 1",
      *[""] * 6,
  )
  assert program(*swapped).replay().cycles == 10


def test_a_predicated_move_keeps_the_old_value_where_the_predicate_fails():
  bundles = (
      "%s1_s0 = smov 4  ;;  %p2_p0 = pmov 0",
      "%s3_s0 = smov (%p2_p0, %s1_s0), 0  ;;  %s4_s1 = sadd.s32 4294967295, %s1_s0",
      "%p5_p1 = scmp.eq.s32.totalorder %s3_s0, 4  ;;  %p6_p2 = scmp.eq.s32.totalorder %s4_s1, 3",
      "%p7_p3 = pand %p5_p1, %p6_p2",
      "%8 = sbr.rel (%p7_p3) target bundleno = 12 (0xc), region = 1",
      *[""] * 8,
  )
  assert program(*bundles).replay().cycles == 4 + 5 + 1


FLAGGED = (
    "%s9_s1 = inlined_call_operand.vmem [shape: s32[2,4], index: 0, kind: input, shape index: {}]",
    "%s7_s1 = sshll.u32 %s9_s1, 4  ;;  %s6_s1 = int_to_ptr.vmem [resolvable:$true] %s7_s1",
    "%s8_s2 = smov [#allocation3]",
    "%10 = dma.vmem_to_smem /*vmem=*/%s6_s1, /*size_in_granules=*/32, /*smem=*/%s8_s2, /*sync=*/[#allocation2]",
    "%s11_s3 = sld [smem:[#allocation3 + $0x81]]",
    "%p12_p0 = scmp.eq.s32.totalorder %s11_s3, 0",
    "%13 = sbr.rel (%p12_p0) target bundleno = 21 (0x15), region = 1",
    *[""] * 15,
)


def test_a_branch_on_an_operand_is_followed_where_its_contents_are_known():
  flags = np.ones((2, 4), np.int32)
  assert program(*FLAGGED).replay({0: flags}).cycles == 22
  flags[1, 1] = 0
  skipped = program(*FLAGGED).replay({0: flags})
  assert (skipped.cycles, skipped.unknown) == (12, ())


def test_a_branch_on_unknown_data_counts_as_executed_and_is_reported():
  found = program(*FLAGGED).replay()
  assert found.cycles == 22
  assert found.unknown == (replay.UnknownBranch(bundle=6, times=1, cycles=10, loop=False),)


def test_bytes_of_hbm_are_those_of_the_copies_that_run():
  bundles = (
      "%s1_s0 = smov 64  ;;  %p2_p0 = pmov 0",
      "%3 = dma.hbm_to_vmem [thread:$0]  /*hbm=*/%s9_s9, /*size_in_granules=*/%s1_s0, /*vmem=*/%s8_s8, /*sync=*/[#a1]",
      "%4 = dma.vmem_to_hbm [thread:$0]  (%p2_p0), /*vmem=*/%s8_s8, /*size_in_granules=*/8, /*hbm=*/%s9_s9",
      "%5 = dma.hbm_to_hbm /*hbm=*/%s9_s9, /*size_in_granules=*/2, /*hbm=*/%s8_s8, /*sync=*/[#a1]",
  )
  assert program(*bundles).replay().hbm_bytes == 32 * (64 + 2 * 2)


def test_cores_of_a_device_take_their_own_way():
  bundles = (
      "%s1_s0 = sld [smem:[#allocation7]] /* core id */",
      "%p2_p0 = scmp.eq.s32.totalorder %s1_s0, 1",
      "%3 = sbr.rel (%p2_p0) target bundleno = 10 (0xa), region = 1",
      *[""] * 8,
  )
  cycles = [program(*bundles).replay(core=core).cycles for core in (0, 1)]
  assert cycles == [11, 8]


def test_rows_of_scalar_memory_have_128_words_and_narrow_types_share_them():
  wide = replay.words(np.array([[1, -2], [3, 4]], np.int32))
  assert (len(wide), wide[:2], wide[128:130]) == (256, [1, -2], [3, 4])
  narrow = replay.words(np.array([[1, 2], [-1, 4]], np.int8))
  assert (len(narrow), narrow[:3]) == (128, [1 + (255 << 8), 2 + (4 << 8), 0])
  assert replay.words(np.arange(3, dtype=np.int32))[:4] == [0, 1, 2, 0]


# --- HLO

LOOPS = """HloModule m

%body.1 (p.1: (s32[], f32[4], s32[])) -> (s32[], f32[4], s32[]) {
  %p.1 = (s32[]{:T(128)}, f32[4]{0:T(128)}, s32[]) parameter(0)
  %i.1 = s32[] get-tuple-element(%p.1), index=0
  %x.1 = f32[4]{0:T(128)} get-tuple-element(%p.1), index=1
  %n.1 = s32[] get-tuple-element(%p.1), index=2
  %one.1 = s32[] constant(STEP)
  %next.1 = s32[] add(%i.1, %one.1), metadata={op_name="add"}
  %y.1 = f32[4]{0:T(128)} fusion(%x.1), calls=%f, metadata={op_name="a/b"}, backend_config={"estimated_cycles":"100"}
  ROOT %t.1 = (s32[], f32[4], s32[]) tuple(%next.1, %y.1, /*index=2*/%n.1)
}

%condition.1 (p.2: (s32[], f32[4], s32[])) -> pred[] {
  %p.2 = (s32[], f32[4], s32[]) parameter(0)
  %i.2 = s32[] get-tuple-element(%p.2), index=0
  %n.2 = s32[] get-tuple-element(%p.2), index=2
  ROOT %lt.1 = pred[] compare(%i.2, %n.2), direction=DIRECTION
}

ENTRY %main (x.3: f32[4]) -> f32[4] {
  %x.3 = f32[4]{0:T(128)} parameter(0)
  %begin.1 = s32[] constant(BEGIN)
  %zero.1 = s32[] copy(%begin.1)
  %end.1 = s32[] END
  %state.1 = (s32[], f32[4], s32[]) tuple(%zero.1, %x.3, %end.1)
  %while.1 = (s32[], f32[4], s32[]) while(%state.1), condition=%condition.1, body=%body.1
  ROOT %out.1 = f32[4]{0:T(128)} get-tuple-element(%while.1), index=1
}
"""


def loops(begin="0", step="1", direction="LT", end="constant(12)") -> hlo.Module:
  return hlo.Module(
      LOOPS.replace("BEGIN", begin).replace("STEP", step).replace("DIRECTION", direction).replace("END", end)
  )


@pytest.mark.parametrize(
    ("settings", "trips"),
    [
        ({}, 12),
        ({"step": "5"}, 3),
        ({"begin": "3", "direction": "LE"}, 10),
        ({"begin": "12", "step": "-1", "direction": "GT", "end": "constant(0)"}, 12),
        ({"begin": "11", "step": "-1", "direction": "GE", "end": "constant(0)"}, 12),
        ({"end": "constant(0)"}, 0),
    ],
)
def test_a_loops_trip_count_is_read_from_its_counter(settings, trips):
  module = loops(**settings)
  assert [e.times for e in module.executed() if e.instruction.opcode == "fusion"] == [trips]
  assert not module.warnings


def test_a_loop_of_unknown_length_counts_once_and_is_reported():
  module = loops(end="get-tuple-element(%x.3), index=0")
  assert [e.times for e in module.executed() if e.instruction.opcode == "fusion"] == [1]
  assert "while.1" in module.warnings[0]


def test_an_annotated_trip_count_needs_no_counter():
  text = LOOPS.replace("body=%body.1", 'body=%body.1, backend_config={"known_trip_count":{"n":"7"}}')
  assert {e.times for e in hlo.Module(text.replace("END", "copy(%x.3)")).executed()} == {1, 7}


def test_costs_without_a_schedule_are_xlas_cycles_or_hbms_time():
  found = estimate.estimate(loops(), None, V5E, NO_MEMORY)
  (op,) = found.ops
  assert (op.times, op.cycles, op.op_name, op.is_replayed) == (12, 100, "a/b", False)
  assert found.seconds_issue == pytest.approx(12 * 100 / V5E.clock)
  slow = hardware.Chip("slow", (), 1e12, 1e9, hbm_bandwidth=1e6, clock=1e9)
  assert estimate.estimate(loops(), None, slow, NO_MEMORY).seconds == pytest.approx(12 * 2 * 16 / 1e6)


def test_a_copy_in_the_background_costs_only_what_is_waited_for():
  text = """HloModule m

ENTRY %main (x: f32[1000]) -> f32[1000] {
  %x = f32[1000]{0} parameter(0)
  %copy-start = (f32[1000]{0:S(1)}, f32[1000]{0}, u32[]{:S(2)}) copy-start(%x)
  %y = f32[1000]{0:S(1)} negate(%x), backend_config={"estimated_cycles":"CYCLES"}
  %copy-done = f32[1000]{0:S(1)} copy-done(%copy-start)
  ROOT %z = f32[1000]{0:S(1)} add(%y, %copy-done)
}
"""
  chip = hardware.Chip("slow", (), 1e12, 1e9, hbm_bandwidth=1e9, clock=1e9)
  # The copy takes 4 us. Reading x takes 4 more of HBM's time; what the op computes beyond that hides the copy.
  for cycles, seconds in ((1000, 8e-6), (5000, 8e-6), (8000, 8e-6), (9000, 9e-6)):
    found = estimate.estimate(hlo.Module(text.replace("CYCLES", str(cycles))), None, chip, NO_MEMORY)
    assert found.seconds == pytest.approx(seconds)
    assert found.hbm_bytes == 8000


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("replica_groups={{0,1},{2,3}}, use_global_device_ids=true", [[0, 1], [2, 3]]),
        ("source_target_pairs={{0,1},{1,0}}, metadata={}", [[0, 1], [1, 0]]),
        ("replica_groups={}, dimensions={0}", [[0, 1, 2, 3]]),
        ("replica_groups=[2,2]<=[4], dimensions={0}", [[0, 1], [2, 3]]),
        ("replica_groups=[2,2]<=[2,2]T(1,0), dimensions={0}", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=1,'c'=2] {'c'}, to_apply=%add", [[0, 1], [2, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a'}, to_apply=%add", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a'}, dimensions={0}", [[0, 1], [2, 3]]),
        ("replica_groups=mesh['a'=4] {'a':(1)2}, to_apply=%add", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=4] {'a':(2)2}, to_apply=%add", [[0, 1], [2, 3]]),
    ],
)
def test_groups_of_devices_are_read_in_every_form(text, groups):
  assert collectives.replica_groups(", channel_id=1, " + text, 4).tolist() == groups


def test_groups_in_an_unknown_form_are_an_error():
  with pytest.raises(ValueError, match="unknown way: v9"):
    collectives.replica_groups("replica_groups=v9:1", 4)


def test_groups_are_told_apart_by_the_mesh_axes_they_cross():
  mesh = sharding.make_mesh((2, 2, 2), jax.devices()[:8])
  assert collectives.mesh_axes(np.array([[0, 4], [1, 5], [2, 6], [3, 7]]), mesh) == ("data",)
  assert collectives.mesh_axes(np.array([[0, 1, 2, 3], [4, 5, 6, 7]]), mesh) == ("fsdp", "model")


# --- libtpu's schedules


def array(*shape: int, dtype=jnp.bfloat16) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, dtype)


@pytest.fixture(scope="module")
def matmul() -> static_profile.Profile:
  return static_profile.profile(jnp.matmul, [array(4096, 4096)] * 2)


def test_a_large_matmul_is_near_the_chips_peak(matmul):
  share = 2 * 4096**3 / V5E.peak_flops / matmul.seconds_issue
  assert 0.85 < share < 1.0
  assert matmul.seconds >= matmul.seconds_issue
  assert matmul.memory.arguments == 2 * matmul.memory.outputs == 2 * 2 * 4096**2
  assert not matmul.warnings


def test_a_devices_cores_share_a_large_matmul():
  found = static_profile.profile(jnp.matmul, [array(4096, 4096)] * 2, "v5p:2x2x1")
  assert 0.85 < 2 * 4096**3 / V5P.peak_flops / found.seconds_issue < 1.0


def test_a_scan_costs_its_steps():
  def scan(x, weights):
    return jax.lax.scan(lambda x, w: (x @ w, None), x, weights)[0]

  costs = []
  for steps in (2, 8):
    found = static_profile.profile(scan, [array(2048, 2048), array(steps, 2048, 2048)])
    assert not found.warnings
    costs.append(sum(op.seconds_issue for op in found.ops if "dot_general" in op.op_name))
  assert costs[1] == pytest.approx(4 * costs[0], rel=0.02)


def test_an_op_that_only_moves_memory_costs_its_bytes():
  found = static_profile.profile(jnp.add, [array(32 * 2**20, dtype=jnp.float32)] * 2)
  moved = 3 * 4 * 32 * 2**20
  assert found.hbm_bytes == moved
  assert found.seconds == pytest.approx(moved / V5E.hbm_bandwidth)
  assert found.seconds > found.seconds_issue


def blocks(flags, x, w, rows: int):
  """Products of the blocks of `rows` rows whose flag is set, in a Pallas kernel named `blocks`."""

  def kernel(flags, x, w, o):
    flag = flags[pl.program_id(0)]

    @pl.when(flag == 0)
    def _():
      o[...] = jnp.zeros_like(o)

    @pl.when(flag != 0)
    def _():
      o[...] = jnp.dot(x[...], w[...], preferred_element_type=jnp.float32).astype(o.dtype)

  spec = pltpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=1,
      grid=(x.shape[0] // rows,),
      in_specs=[pl.BlockSpec((rows, x.shape[1]), lambda i, _: (i, 0)), pl.BlockSpec(w.shape, lambda i, _: (0, 0))],
      out_specs=pl.BlockSpec((rows, w.shape[1]), lambda i, _: (i, 0)),
  )
  out = jax.ShapeDtypeStruct((x.shape[0], w.shape[1]), x.dtype)
  return pl.pallas_call(kernel, grid_spec=spec, out_shape=out, name="blocks")(flags, x, w)


@functools.cache
def blocks_profile(count: int, flags: tuple[int, ...] | None) -> static_profile.Profile:
  arguments = [array(count, dtype=jnp.int32), array(count * 256, 512), array(512, 512)]
  scalars = None if flags is None else {"blocks": [np.array(flags)]}
  return static_profile.profile(functools.partial(blocks, rows=256), arguments, scalars=scalars)


def test_a_kernel_on_a_grid_of_eight_costs_eight_times_one():
  one, eight = (blocks_profile(n, (1,) * n).kernels["blocks"] for n in (1, 8))
  assert eight == pytest.approx(8 * one, rel=0.15)


def test_blocks_that_flags_skip_cost_nothing_but_their_zeros():
  full, half, none = (blocks_profile(8, flags).kernels["blocks"] for flags in ((1,) * 8, (1, 0) * 4, (0,) * 8))
  assert none < 0.3 * full
  assert half == pytest.approx((full + none) / 2, rel=0.02)
  assert not blocks_profile(8, (0,) * 8).warnings


def test_without_the_flags_every_block_counts_and_a_warning_says_so():
  found = blocks_profile(8, None)
  assert found.kernels["blocks"] > blocks_profile(8, (1,) * 8).kernels["blocks"]
  (warning,) = found.warnings
  assert warning.startswith("blocks (") and "branches on data counted as executed" in warning


def test_flags_that_are_constants_of_the_program_are_found():
  constant = lambda x, w: blocks(jnp.array([1, 0] * 4, jnp.int32), x, w, rows=256)
  found = static_profile.profile(constant, [array(2048, 512), array(512, 512)])
  assert found.kernels == blocks_profile(8, (1, 0) * 4).kernels
  assert not found.warnings


def test_a_kernels_bytes_are_those_of_its_windows():
  (kernel,) = [op for op in blocks_profile(8, (0,) * 8).ops if op.is_kernel]
  flags = 4 * 128
  assert kernel.hbm_bytes == 2 * (2 * 2048 * 512 + 512 * 512) + flags
  assert 0 < kernel.slots["VSTORE"] <= 1


def test_scalars_of_the_wrong_shape_or_name_are_told():
  with pytest.raises(ValueError, match=r"scalars\['blocks.1'\]\[0\] has shape \(3,\), the kernel's is \(8,\)"):
    blocks_profile(8, (1, 1, 1))
  found = static_profile.profile(jnp.negative, [array(8, 128)], scalars={"blocks": [np.zeros(8)]})
  assert "no such kernel" in found.warnings[-1]


def test_compiling_again_gives_the_same_profile_and_leaves_no_files(matmul):
  again = static_profile.profile(jnp.matmul, [array(4096, 4096)] * 2)
  assert (again.ops, again.seconds) == (matmul.ops, matmul.seconds)
  one = sharding.replicated(sharding.make_mesh((1, 1, 1), topology.devices("v5e:2x2")[:1]))
  lowered = jax.jit(jnp.negative).lower(jax.ShapeDtypeStruct((8, 128), jnp.float32, sharding=one))
  with topology.captured(lowered) as capture:
    assert list(capture.folder.iterdir())
  assert not list(capture.folder.iterdir())


def test_equal_ops_are_one_row_of_the_table():
  op = static_profile.OpCost("mlp.1", "custom-call", "a/mlp", times=2, cycles=10, seconds_issue=1.0, seconds=2.0)
  others = [dataclasses.replace(op, name=name, cycles=cycles) for name, cycles in (("mlp.2", 10), ("mlp.3", 11))]
  found = static_profile.grouped(dataclasses.replace(blocks_profile(8, (1,) * 8), ops=(op, *others)))
  rows = [(o.name, o.times, o.seconds_issue, o.seconds) for o in found]
  assert rows == [("mlp", 4, 2.0, 4.0), ("mlp.3", 2, 1.0, 2.0)]


def test_the_table_names_ops_kernels_and_totals():
  text = static_profile.table(blocks_profile(8, (1,) * 8), top=3)
  assert "blocks.1" in text and "MXU" in text
  assert "static estimate for v5e: issue-bound" in text


def test_a_device_without_figures_is_an_error_that_says_where_to_add_them():
  assert hardware.find_chip("cpu") is None
  with pytest.raises(ValueError, match="bsm_jax.hardware.CHIPS"):
    hardware.chip_of("cpu")
