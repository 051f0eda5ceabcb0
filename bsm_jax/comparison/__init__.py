"""What `bsm_jax.compare` is made of: groups of runs, their tables, figures and the page that shows them."""
