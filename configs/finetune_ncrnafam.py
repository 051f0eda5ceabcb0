"""ncRNAFam: which of 88 Rfam families is this RNA of? Accuracy.

Data: LucaOne's ncRNAFam (ncrna-deep), 105,864 / 17,324 / 25,342 RNAs up to 200 letters, written in those of DNA.
Paper: BSM-270M 0.975; LucaOne a little above (0.986, as its authors report it).
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config() -> ConfigDict:
  config = finetune.get_config()
  config.task = "ncRNAFam"
  config.loss = "cce"
  config.data.folder = "ncRNAFam/gene/multi_class"
  config.data.gene = "rna"
  config.data.columns = "seq=rna"
  config.data.max_length = 256
  config.paper = ConfigDict({"BSM-270M": 0.975, "LucaOne": 0.986})
  return config
