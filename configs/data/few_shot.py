"""Rows of the miniature world of two genetic codes, each row of one organism: a row is a gene read after others.

  python -m data_pipelines.miniature --world=two_codes --genes=1000 --out=RELEASE
  python -m data_pipelines.build --config=configs/data/few_shot.py --config.release=RELEASE --out=DIR

Whoever attends across the documents of a row (`configs/few_shot.py`) can see in the first ones which code holds.
"""

import ml_collections

from configs.data import miniature

TAXA = {"code4": 90_000_007, "code21": 90_000_008}


def get_config() -> ml_collections.ConfigDict:
  config = miniature.get_config()
  config.documents.splits.test = 0.0
  config.documents.evaluation_sets = ({
      "name": "central_dogma", "path": "{release}/central_dogma.tsv", "format": "tsv",
      "columns": {"dna": "dna", "protein": "protein"},
  },)  # fmt: skip
  # Windows of one length and few codons: a model of this size learns to translate them within some hundred steps, and
  # then what a row of fifteen pairs can teach. With windows of six codons, and fewer that the codes read differently,
  # it had not begun to after 2,400.
  pairs = {"corpus": "refseq_pairs", "modalities": ("dna", "protein"), "codons": (3, 3), "views": 3}
  config.row_sets = {f"{organism}_w3": pairs | {"taxa": (taxon,)} for organism, taxon in TAXA.items()}
  return config
