"""Attention and its implementations: plain functions of arrays that know no model."""

from bsm_jax.kernels.attention import IMPLEMENTATIONS, attention

__all__ = ["IMPLEMENTATIONS", "attention"]
