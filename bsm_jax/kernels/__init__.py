"""Attention and its implementations: plain functions of arrays that know no model."""

from bsm_jax.kernels.attention import IMPLEMENTATIONS, Attention, choose
from bsm_jax.kernels.rotary import rotary_table

__all__ = ["IMPLEMENTATIONS", "Attention", "choose", "rotary_table"]
