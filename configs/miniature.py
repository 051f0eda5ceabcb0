"""A 1.8M model that learns the genetic code from the miniature release, on two CPU cores in some minutes.

Expect: bits per residue of held-out proteins given their DNA fall from about 4.2 to below 1, over windows of 10-30
codons; given a wrong DNA they stay above 4.

  bash launch/quickstart.sh

or, with rows from `configs/data/miniature.py`:

  python -m bsm_jax.train --config=configs/miniature.py --config.data.root=ROWS --workdir=DIR
"""

from ml_collections import ConfigDict

from configs import bsm_110m


def get_config() -> ConfigDict:
  config = bsm_110m.get_config()
  config.model.n_layers = 4
  config.model.n_heads = 3
  config.model.d_model = 192
  config.model.head_dim = 64
  config.model.d_ff = 512
  config.model.dtype = "float32"  # CPUs gain nothing from bf16.
  config.model.remat = "none"
  config.model.unroll = 4

  config.data.context = 256
  config.data.batch_size = 12

  config.rounds = ConfigDict()
  tokens_per_step = config.data.batch_size * config.data.context
  config.rounds.round1 = ConfigDict()
  config.rounds.round1.tokens = 50 * tokens_per_step
  config.rounds.round1.weights = ConfigDict({"single_dna": 1.0, "single_rna": 1.0, "single_protein": 1.0})
  config.rounds.round1.lr_start, config.rounds.round1.lr_end = 1e-3, 1e-3
  config.rounds.round1.warmup_tokens = 20 * tokens_per_step
  config.rounds.round2 = ConfigDict()
  config.rounds.round2.tokens = 700 * tokens_per_step
  config.rounds.round2.weights = ConfigDict({"single_dna": 0.5, "single_rna": 0.25, "single_protein": 0.25, "refseq_pairs_w10_30": 9.0})
  config.rounds.round2.lr_start, config.rounds.round2.lr_end = 1e-3, 5e-4
  config.rounds.round2.warmup_tokens = 0.0
  config.rounds.round3 = ConfigDict()
  config.rounds.round3.tokens = 50 * tokens_per_step
  config.rounds.round3.weights = ConfigDict({"refseq_pairs_w10_30": 1.0})
  config.rounds.round3.lr_start, config.rounds.round3.lr_end = 5e-4, 0.0
  config.rounds.round3.warmup_tokens = 0.0

  config.eval.every_steps = 50
  config.eval.batch_size = 16
  config.eval.row_sets = ConfigDict({
      "single_dna": 48,
      "single_rna": 48,
      "single_protein": 48,
      "translate_w10_30": 32,
      "translate_wrong_w10_30": 32,
  })
  config.log_every_steps = 10
  config.checkpoint.every_steps = 50
  config.checkpoint.keep = 2
  config.figures = ConfigDict({
      "Validation, single-modal data": {
          "DNA": "valid/single_dna/dna",
          "RNA": "valid/single_rna/rna",
          "protein": "valid/single_protein/protein",
      },
      "The genetic code: held-out proteins": {
          "given their DNA": "valid/translate_w10_30/protein",
          "given a wrong DNA": "valid/translate_wrong_w10_30/protein",
      },
  })
  return config
