"""Does mixed-modal data lower single-modal loss? A 2.4M model on all four corpora of real files, in two arms.

  python -m bsm_jax.train --config=configs/small.py        --config.data.root=ROWS --workdir=DIR/mixed
  python -m bsm_jax.train --config=configs/small.py:single --config.data.root=ROWS --workdir=DIR/single

Rows from `configs/data/small.py`. Both arms see the same number of tokens at the same learning rates; `single` sees
single sequences only, in the proportions in which `mixed` sees them besides its pairs. Some 23 minutes each on one of
two CPU cores, both at once; one single-threaded device a run, and huge pages for its memory (a step took 0.13 s in
place of 0.147 s):

  export JAX_NUM_CPU_DEVICES=1 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false
  M=glibc.malloc; export GLIBC_TUNABLES=$M.hugetlb=1:$M.mmap_threshold=$((1<<30)):$M.trim_threshold=$((1<<32))

Found, mixed arm, seeds 0, 1, 2: held-out proteins given their DNA, 10-60 codons, end at 0.006, 0.07 and 0.25 bits in
E. coli, the same within 0.01 in yeast; above 10 given a wrong DNA. Windows of 61-62 codons, by
`evaluation.translation`: 0.04, 0.43 and 0.92. Genetic code 4 (M. mycoides) is read as well as the others. DNA given
its protein is not learned: here proteins come second (`configs/sweeps/ablations.py`, "either").

The arms were compared at commit 8b25122, three seeds of each, whose later rounds had fewer such pairs and other
rates, and whose rotary base was the paper's: the mixed arm's loss was higher, by 0.014 bits on DNA (1.942), 0.015 on
RNA (1.933) and 0.012 on proteins (4.150; standard deviations over seeds are 0.005 or less, RNA's 0.01), of which only
the last holds in both intervals of `compare`. Pairs took some 60 % of its tokens, and at this size what they teach
does not carry over.
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
