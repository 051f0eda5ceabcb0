"""The base of the design ablations (`configs/sweeps/ablations.py`): a short run of `configs/small.py`'s kind.

Pairs come as windows of the same codons in both modalities, short ones first, DNA before protein, and attention stays
inside documents; unlike there, the rotary base is the paper's, and a step of 10-30 codons comes before windows of every
length. Row sets of weight 0 are what the ablations give weight to.
"""

from ml_collections import ConfigDict, config_dict

from configs import arms, small

WINDOWS = {"round1": "w3_8", "round2a": "w5_15", "round2b": "w10_30", "round3": "w3_62"}
STEPS = {"round1": 800, "round2a": 400, "round2b": 600, "round3": 1200}


def get_config(variations: str = "") -> ConfigDict:
  config = small.get_config()
  config.model.rope_theta = 1e5  # The paper's.
  tokens_per_step = config.data.batch_size * config.data.context
  names = [f"refseq_pairs_{order}_{w}" for order in ("dna_protein", "either") for w in WINDOWS.values()]
  config.rounds = ConfigDict()
  for name, windows in WINDOWS.items():
    weights = {"single_dna": 1.0, "single_rna": 0.5, "single_protein": 0.5}
    weights |= dict.fromkeys([*names, "refseq_pairs_dna_protein_concatenated"], 0.0)
    weights[f"refseq_pairs_dna_protein_{windows}"] = 7.0
    weights["refseq_pairs_dna_protein_w3_62"] += 1.0
    config.rounds[name] = {
        "tokens": STEPS[name] * tokens_per_step, "weights": weights, "lr_start": 5e-4,
        "lr_end": 0.0 if name == "round3" else 5e-4, "warmup_tokens": 0.0,
    }
    config.rounds[name].weights_file = config_dict.placeholder(str)
  config.rounds.round1.warmup_tokens = 20.0 * tokens_per_step
  return arms.apply(config, variations)
