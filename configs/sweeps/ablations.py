"""Design ablations at the small scale, three seeds each: one thing is changed, and everything else stays.

  python -m launch.sweep --config=configs/sweeps/ablations.py --workdir=DIR --local -- --config.data.root=ROWS
  python -m launch.sweep --config=configs/sweeps/ablations.py --workdir=DIR --collect

Rows from `configs/data/small.py`. Fifteen runs of 3,000 steps, some 13 minutes each with one on either of two cores.

  as it is       windows of the same codons in both modalities, short ones first, DNA first, attention inside documents
  concatenated   whole genes, cut into pieces of the context's length
  no schedule    windows of every length from the start
  across         attention across the documents of a row
  either         DNA or protein first, by chance

Found, bits per residue of held-out E. coli proteins given their DNA, seeds 0, 1, 2; yeast is within 0.12 of it:

                 windows of 10-30 codons   10-60 codons
  as it is       0.004  0.015  0.174       0.005  0.145  1.162
  concatenated   4.492  4.451  4.490       4.409  4.363  4.402
  no schedule    0.419  0.508  0.979       1.296  0.708  2.024
  across         1.397  0.454  0.474       2.371  0.481  1.298
  either         1.403  3.942  3.857       2.542  4.081  4.021

Each seed does best as it is. In either order the model learns the other direction sooner, DNA given its protein
(`evaluation.translation`: 1.33, 1.68 and 1.79 bits per nucleotide in E. coli, 1.95 and more alone, 0.56 the bound of
the code's degeneracy); models of one order do not (`configs/small.py`). Single nucleotide sequences do best where
nothing is translated: concatenated, DNA ends at 1.934 to 1.937 bits per base and RNA at 1.907 to 1.913; otherwise at
1.943 to 1.965 and 1.927 to 1.955. Proteins tell the arms apart by no more than seeds do (4.151 to 4.174).
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
