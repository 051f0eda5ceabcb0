"""Train's own step, compiled for devices that are not here. `bsm_jax.compile_ahead` is its command line."""
