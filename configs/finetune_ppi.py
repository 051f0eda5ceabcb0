"""PPI: do these two proteins interact? Two classes, accuracy.

Data: LucaOne's PPI (DeepPPI's human set), 59,766 / 7,430 / 7,425 pairs; proteins up to 2,048 residues, so a part of the
pairs is truncated at 1,024 tokens.
Paper: BSM-110M 0.975, BSM-270M 0.9788; LucaOne 0.9748.
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config() -> ConfigDict:
  config = finetune.get_config()
  config.task = "PPI"
  config.data.folder = "PPI/protein/binary_class"
  config.data.columns = "protein_a=protein,protein_b=protein"
  config.paper = ConfigDict({"BSM-110M": 0.975, "BSM-270M": 0.9788, "LucaOne": 0.9748})
  return config
