"""Design ablations at the small scale, three seeds each: one thing is changed, and everything else stays.

  python -m launch.sweep --config=configs/sweeps/ablations.py --workdir=DIR --local -- --config.data.root=ROWS
  python -m launch.sweep --config=configs/sweeps/ablations.py --workdir=DIR --collect

Rows from `configs/data/small.py`. Fifteen runs of 3,000 steps, some 13 minutes each with one on either of two cores.

  as it is       windows of the same codons in both modalities, short ones first, DNA first, attention inside documents
  concatenated   whole genes, cut into pieces of the context's length
  no schedule    windows of every length from the start
  across         attention across the documents of a row
  either         DNA or protein first, by chance

Found, bits per residue of held-out E. coli proteins given their DNA, seeds 0, 1, 2 (a dash was not run); yeast is
within 0.12 of it:

                 windows of 10-30 codons   10-60 codons
  as it is       0.004  0.015  0.174       0.005  0.145  1.162
  concatenated   4.484  4.439  -           4.402  4.361  -
  no schedule    0.419  0.508  -           1.296  0.708  -
  across         1.397  0.454  -           2.371  0.481  -
  either         1.403  3.942  -           2.542  4.081  -

In either order the model learns the other direction sooner, DNA given its protein (`evaluation.translation`: 1.33 and
1.68 bits per nucleotide in E. coli, 1.95 and more alone, 0.56 the bound of the code's degeneracy); models of one order
do not (`configs/small.py`). Single sequences do best where least is translated: DNA 1.938 and 1.940 bits per base
concatenated, 1.945 and 1.953 in either order, 1.955 to 1.963 otherwise.
"""

from ml_collections import ConfigDict

from configs import ablation

SEEDS = (0, 1, 2)


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.base = "configs/ablation.py"
  config.overrides = [{"seed": seed} | changes for changes in ablations().values() for seed in SEEDS]
  config.metrics = [f"valid/translate_{organism}_{w}/protein" for organism in ("ecoli", "yeast")
                    for w in ("w10_30", "w10_60")]
  config.metrics += ["valid/single_dna/dna", "valid/single_protein/protein"]
  return config


def ablations() -> dict[str, dict]:
  """Settings that each ablation changes."""
  return {
      "as it is": {},
      "concatenated": _pairs_as(dict.fromkeys(ablation.WINDOWS, "dna_protein_concatenated")),
      "no schedule": _pairs_as(dict.fromkeys(ablation.WINDOWS, "dna_protein_w3_62")),
      "across": {"data.attend_across_documents": True},
      "either": _pairs_as({name: f"either_{w}" for name, w in ablation.WINDOWS.items()}, last="either_w3_62"),
  }


def _pairs_as(row_sets: dict[str, str], last: str | None = None) -> dict[str, float]:
  """All pairs of each round from one row set; or one eighth of them from `last`."""
  changed = {}
  for name, windows in ablation.WINDOWS.items():
    weights = {f"dna_protein_{windows}": 0.0, "dna_protein_w3_62": 0.0}
    weights |= {row_sets[name]: 8.0}
    if last and last != row_sets[name]:
      weights |= {row_sets[name]: 7.0, last: 1.0}
    changed |= {f"rounds.{name}.weights.refseq_pairs_{row_set}": weight for row_set, weight in weights.items()}
  return changed
