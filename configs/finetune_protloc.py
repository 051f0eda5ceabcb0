"""ProtLoc: where in a prokaryotic cell is this protein? Six classes, accuracy.

Data: LucaOne's ProtLoc (from DeepLocPro), 9,915 / 1,991 / 1,131 proteins up to 5,629 residues, truncated at the C end.
Class weights are LucaOne's, in the order of its label.txt; for other classes give others (`--config.class_weights`).
Paper: BSM-110M 0.9685, BSM-270M 0.9713; ESM2-3B 0.9496.
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config() -> ConfigDict:
  config = finetune.get_config()
  config.task = "ProtLoc"
  config.loss = "cce"
  config.class_weights = "2,50,1,5,8,10"
  config.data.folder = "ProtLoc/protein/multi_class"
  config.data.columns = "seq=protein"
  config.paper = ConfigDict({"BSM-110M": 0.9685, "BSM-270M": 0.9713, "ESM2-3B": 0.9496})
  return config
