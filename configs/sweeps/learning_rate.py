"""The miniature model's peak learning rate: the paper's 2e-5 (for 110M parameters), and five up to 4e-3.

Expect: two CPU cores take some minutes for each run. Too low a rate has not learned to translate by the end (4 bits per
residue and more under `valid/translate_w10_30/protein`), and too high a one may not either.

  python -m launch.sweep --config=configs/sweeps/learning_rate.py --workdir=DIR --local -- --config.data.root=ROWS
  python -m launch.sweep --config=configs/sweeps/learning_rate.py --workdir=DIR --collect
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.base = "configs/miniature.py"
  config.overrides = [at_peak(peak) for peak in (5e-4, 1e-3, 2e-3, 4e-3, 2e-4, 2e-5)]
  config.metrics = ["valid/translate_w10_30/protein", "valid/translate_w10_30/loss", "valid/single_dna/dna"]
  return config


def at_peak(peak: float) -> dict[str, float]:
  """The rate stays at its peak until the last round, which takes it to zero."""
  constant = ("rounds.round1", "rounds.round2a", "rounds.round2b")
  return {f"{name}.{end}": peak for name in constant for end in ("lr_start", "lr_end")} | {
      "rounds.round3.lr_start": peak
  }
