"""The miniature model's peak learning rate: the paper's 2e-5 (for 110M parameters), and five up to 4e-3.

Expect: two CPU cores take some minutes for each run. Found, bits per residue of proteins given their DNA at the end
(`valid/translate_w10_30/protein`; 4.2 is nothing learned), seeds 0, 1, 2, where they were run:

  2e-5   3.97
  2e-4   0.28   0.19
  5e-4   0.01   0.01   1.73
  1e-3   0.62   2.46   0.46

with the paper's base of 1e5 for rotary positions (`--config.model.rope_theta=1e5`). The miniature's default is 5e-4
with a base of 1e3: 0.02, 0.01 and 0.48. The paper's rate is for 110M parameters and batches of 4M tokens, and stays
the default there; here it learns the composition of sequences and no more.

  python -m launch.sweep --config=configs/sweeps/learning_rate.py --workdir=DIR --local -- --config.data.root=ROWS
  python -m launch.sweep --config=configs/sweeps/learning_rate.py --workdir=DIR --collect
"""

from ml_collections import ConfigDict

PEAKS = (5e-4, 1e-3, 2e-3, 4e-3, 2e-4, 2e-5)


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.base = "configs/miniature.py"
  config.overrides = [at_peak(peak) for peak in PEAKS]  # With the base's seed, 0.
  config.overrides += [at_peak(peak) | {"seed": seed} for seed in (1, 2) for peak in PEAKS]
  config.metrics = ["valid/translate_w10_30/protein", "valid/translate_w10_30/loss", "valid/single_dna/dna"]
  return config


def at_peak(peak: float) -> dict[str, float]:
  """The rate stays at its peak until the last round, which takes it to zero."""
  constant = ("rounds.round1", "rounds.round2a", "rounds.round2b")
  return {f"{name}.{end}": peak for name in constant for end in ("lr_start", "lr_end")} | {
      "rounds.round3.lr_start": peak
  }
