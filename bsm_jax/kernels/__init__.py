"""Attention, the fused parts of a layer, and their implementations: functions of arrays that know no model."""

from bsm_jax.kernels.attention import ATTENTION, Attention, choose_attention, split_heads
from bsm_jax.kernels.blocks import BLOCKS, Blocks, XlaBlocks, choose_blocks, product, rms_norm
from bsm_jax.kernels.rotary import rotary_table

__all__ = [
    "ATTENTION",
    "BLOCKS",
    "Attention",
    "Blocks",
    "XlaBlocks",
    "choose_attention",
    "choose_blocks",
    "product",
    "rms_norm",
    "rotary_table",
    "split_heads",
]
