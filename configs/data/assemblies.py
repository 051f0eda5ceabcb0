"""Rows from any folder of NCBI assemblies, such as `data_pipelines.download` makes.

  python -m data_pipelines.download --release=taxon --taxon='Saccharomyces cerevisiae' --out=DIR
  python -m data_pipelines.build --config=configs/data/assemblies.py --config.assemblies=DIR --out=CORPORA

Row sets and context are those of `configs/data/miniature.py`, for a first run on real genomes.
"""

import ml_collections

from configs.data import miniature


def get_config() -> ml_collections.ConfigDict:
  config = miniature.get_config()
  del config.release
  config.assemblies = ml_collections.config_dict.placeholder(str)
  # An assembly's annotation may name sequences, such as a mitochondrion, that its FASTA lacks.
  config.sources = ({"kind": "assembly", "path": "{assemblies}/GC[AF]_*", "missing_contig": "reject"},)
  config.trained_by = "configs/miniature.py"
  return config
