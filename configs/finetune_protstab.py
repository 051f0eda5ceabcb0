"""ProtStab: how stable is this small protein? A number, Spearman's correlation.

Data: LucaOne's ProtStab (TAPE's stability task, Rocklin 2017), 53,614 / 2,512 / 12,851 proteins up to 62 residues: none
is truncated.
Paper: BSM-110M 0.7653, BSM-270M 0.7681; ESM2-3B 0.7556.
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config() -> ConfigDict:
  config = finetune.get_config()
  config.task = "ProtStab"
  config.loss = "mse"
  config.metric = "spearman"
  config.data.folder = "ProtStab/protein/regression"
  config.data.columns = "seq=protein"
  config.data.max_length = 65  # 62 residues and three special tokens.
  config.paper = ConfigDict({"BSM-110M": 0.7653, "BSM-270M": 0.7681, "ESM2-3B": 0.7556})
  return config
