"""Rows from a miniature release: six simulated genomes, every stage in seconds.

  python -m data_pipelines.miniature --out=RELEASE
  python -m data_pipelines.build --config=configs/data/miniature.py --config.release=RELEASE --out=DIR

Row sets `single_*` and `refseq_pairs_*` are for training, some 10 M tokens in all. `translate_*` hold validation rows
only, DNA followed by its protein, and `translate_wrong_*` the same windows with the DNA of another gene: a model that
translates does much better on the former.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.release = ml_collections.config_dict.placeholder(str)
  config.context = 256
  config.seed = 0
  config.sources = ({"kind": "assembly", "path": "{release}/GC[AF]_*"},)
  config.documents = {
      "transcripts": "one",
      "strict": True,
      "min_letters": 20,
      "splits": {"valid": 0.05, "test": 0.05, "seed": 0},
  }
  dna_protein = {"corpus": "refseq_pairs", "modalities": ("dna", "protein")}
  translate = dna_protein | {"splits": ("valid",), "codons": (10, 30)}
  config.row_sets = {
      "single_dna": {"corpus": "single_modal", "modalities": ("dna",), "strand": "random"},
      "single_rna": {"corpus": "single_modal", "modalities": ("rna",)},
      "single_protein": {"corpus": "single_modal", "modalities": ("protein",)},
      # Any two or three modalities in any order; three modalities of k codons cost 7k + 13 tokens: 256 hold 34.
      "refseq_pairs_w10_30": {"corpus": "refseq_pairs", "views": 2, "codons": (10, 30)},
      # Always DNA before protein, and short windows to begin with: what teaches the genetic code fastest.
      "refseq_pairs_dna_protein_w3_8": dna_protein | {"codons": (3, 8)},
      "refseq_pairs_dna_protein_w5_15": dna_protein | {"codons": (5, 15)},
      "refseq_pairs_dna_protein_w10_30": dna_protein | {"codons": (10, 30)},
      "translate_w10_30": translate,
      "translate_wrong_w10_30": translate | {"wrong_partner": True, "like": "translate_w10_30"},
  }
  return config
