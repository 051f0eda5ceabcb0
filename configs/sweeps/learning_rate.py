"""The miniature model's peak learning rate: the paper's 2e-5 (for 110M parameters), and five up to 4e-3.

Expect: two CPU cores take some minutes for each run. Found, one seed each, bits per residue of proteins given their DNA
at the end (`valid/translate_w10_30/protein`; 4.2 is nothing learned): 2e-5 3.97, 2e-4 0.28, 5e-4 0.01, 1e-3 0.62. The
paper's rate is for 110M parameters and batches of 4M tokens; here it learns the composition of sequences and no more.

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
