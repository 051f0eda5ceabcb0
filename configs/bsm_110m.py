"""BSM-110M: the paper's three rounds (arXiv 2410.11499, tables 1 and 2), steps derived from token budgets.

Expect: 109.8M parameters; 64,850 steps of 4096 x 1024 tokens (272B) in all.
Needs: rows of all four corpora with context 1024, and some 64 TPU v5e chips or more (16 rows a chip and microbatch).

  python -m bsm_jax.train --config=configs/bsm_110m.py --config.data.root=ROWS --workdir=DIR

`configs/bsm_110m.py:single` is the paper's ablation; `configs/arms.py` has the other variations.

The paper prints 32,500 steps of 4096 x 1024 and token budgets of 272B; these disagree, and the budgets are used.
"""

from ml_collections import ConfigDict, config_dict

from configs import arms


def get_config(variations: str = "") -> ConfigDict:
  config = ConfigDict()
  config.seed = 0
  # A run directory to start from instead of fresh parameters, RUN or RUN@ROUND for that round's end. Parameters and
  # optimizer continue, and so does each row set where it stood; steps and the schedule begin anew.
  config.init_from = config_dict.placeholder(str)

  config.model = ConfigDict()
  config.model.n_layers = 12
  config.model.n_heads = 12
  config.model.d_model = 768
  config.model.head_dim = 64
  config.model.d_ff = 2944  # SwiGLU; the paper gives no width, this one makes 109.8M.
  config.model.rope_theta = 100_000.0
  config.model.norm_eps = 1e-5
  config.model.dtype = "bfloat16"  # Activations and products; parameters and optimizer state are fp32.
  # none | dots | full: for more rows a device. On TPUs the fused blocks keep no more than `dots` would.
  config.model.remat = "none"
  config.model.scan = False  # A loop over layers compiles faster and runs slower.
  config.model.attention = "auto"
  config.model.blocks = "auto"

  config.data = ConfigDict()
  config.data.root = config_dict.placeholder(str)  # The `rows` folder of a build; local or gs://.
  config.data.context = 1024
  config.data.batch_size = 4096  # Rows in a global batch.
  config.data.attend_across_documents = False
  config.data.prefetch = 4  # Batches read ahead by each host.
  config.data.stall_seconds = 600.0  # A host that waits longer for a batch gives up: a restart is better than a hang.

  # Rounds run in the order of their names. Weights count tokens; a row set of weight 0 is left out. A round's
  # `weights_file`, which a mixture search writes, replaces its weights.
  config.rounds = ConfigDict()
  config.rounds.round1 = ConfigDict()
  config.rounds.round1.tokens = 100e9
  config.rounds.round1.weights = ConfigDict({"single_dna": 4.0, "single_rna": 1.0, "single_protein": 5.0})
  config.rounds.round1.lr_start, config.rounds.round1.lr_end = 2e-5, 1e-5
  config.rounds.round1.warmup_tokens = 1e9

  # single : RefSeq : GRS = 10 : 2 : 1 (how the paper divides the single-modal part is not said). Each pair corpus comes
  # as several row sets: short windows teach the relation between the modalities quickly, longer ones at every length.
  config.rounds.round2 = ConfigDict()
  config.rounds.round2.tokens = 156e9
  config.rounds.round2.weights = ConfigDict({
      "single_dna": 4.0,
      "single_rna": 1.0,
      "single_protein": 5.0,
      "refseq_pairs_w10_30": 0.5,
      "refseq_pairs_w30_140": 0.5,
      "refseq_pairs_whole": 1.0,
      "gene_related_w10_30": 0.25,
      "gene_related_w30_140": 0.25,
      "gene_related_whole": 0.5,
  })
  config.rounds.round2.lr_start, config.rounds.round2.lr_end = 1e-5, 1e-7
  config.rounds.round2.warmup_tokens = 0.0

  # RefSeq : GRS : web = 1 : 1 : 10, the web corpus upsampled.
  config.rounds.round3 = ConfigDict()
  config.rounds.round3.tokens = 15.9e9
  config.rounds.round3.weights = ConfigDict({
      "refseq_pairs_whole": 1.0, "gene_related_whole": 1.0, "web_interleaved": 10.0,
  })
  config.rounds.round3.lr_start, config.rounds.round3.lr_end = 1e-6, 0.0
  config.rounds.round3.warmup_tokens = 0.0

  config.optimizer = ConfigDict()
  config.optimizer.b1, config.optimizer.b2, config.optimizer.eps = 0.9, 0.95, 1e-8
  config.optimizer.weight_decay = 0.1
  config.optimizer.clip_norm = 1.0
  config.guard = ConfigDict()  # Steps that are thrown away; see bsm_jax.training.step.GuardConfig.
  config.guard.spike_factor = 20.0  # Gradient norms beyond this multiple of the running mean; 0: none.
  config.guard.window = 100  # Steps of the running mean.
  config.guard.spikes_in_a_row = 3  # So many are skipped; what stays large is stepped out of, clipped.
  config.guard.max_in_a_row = 10  # So many in a row end the run.
  config.accumulation = 1  # Microbatches in a step; the result does not depend on it.

  config.mesh = ConfigDict()
  config.mesh.data, config.mesh.fsdp, config.mesh.model = -1, 1, 1  # -1: all the devices that are left.

  config.eval = ConfigDict()
  config.eval.every_steps = 1000
  config.eval.batch_size = 1024
  config.eval.row_sets = ConfigDict({  # Validation row sets and how many rows of each.
      "single_dna": 8_192,
      "single_rna": 4_096,
      "single_protein": 8_192,
      "refseq_pairs_w10_30": 4_096,
      "refseq_pairs_whole": 4_096,
  })

  config.log_every_steps = 20
  config.checkpoint = ConfigDict()
  config.checkpoint.every_steps = 500
  config.checkpoint.keep = 3

  # Figures that `bsm_jax.report` draws: title -> {legend: metric}.
  config.figures = ConfigDict({
      "Validation, single-modal data": {
          "DNA": "valid/single_dna/dna",
          "RNA": "valid/single_rna/rna",
          "protein": "valid/single_protein/protein",
      },
      "Validation, RefSeq pairs": {
          "DNA": "valid/refseq_pairs_whole/dna",
          "RNA": "valid/refseq_pairs_whole/rna",
          "protein": "valid/refseq_pairs_whole/protein",
      },
  })
  for of_round in config.rounds.values():
    of_round.weights_file = config_dict.placeholder(str)
  return arms.apply(config, variations)
