"""Rounds, the training step, checkpoints and metrics: the pieces that `bsm_jax.train` puts together."""
