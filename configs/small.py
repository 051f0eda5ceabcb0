"""Does mixed-modal data lower single-modal loss? A 2.4M model on all four corpora of real files, in two arms.

  python -m bsm_jax.train --config=configs/small.py        --config.data.root=ROWS --workdir=DIR/mixed
  python -m bsm_jax.train --config=configs/small.py:single --config.data.root=ROWS --workdir=DIR/single

Rows from `configs/data/small.py`. Both arms see the same number of tokens at the same learning rates; `single` sees
single sequences only, in the proportions in which `mixed` sees them besides its pairs. Some 20 minutes each on two CPU
cores; one single-threaded device a core is fastest:

  export JAX_NUM_CPU_DEVICES=2 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false
"""

from ml_collections import ConfigDict

from configs import arms, model_organisms


def get_config(variations: str = "") -> ConfigDict:
  config = model_organisms.get_config()
  # The small corpora: tens of rows of real records, which the last rounds repeat a few times.
  for name in ("round3", "round4"):
    config.rounds[name].weights.update({"gene_related_w10_30": 0.05, "web_interleaved": 0.1})
  config.eval.row_sets.single_rna = 128
  return arms.apply(config, variations)
