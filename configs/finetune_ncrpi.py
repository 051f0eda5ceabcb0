"""ncRPI: does this protein bind this non-coding RNA? Two classes, accuracy.

Data: LucaOne's ncRPI (from NPInter 2.0, 10,412 pairs and as many random ones). The paper has 16,658 training and 4,166
test pairs; LucaOne's files a development part besides. RNA up to 4,096 letters, so much is truncated at 1,024 tokens.
Paper: BSM-110M 0.9494 (single-modal only 0.922); LucaOne 0.938; ESM2-3B with DNABERT2 0.9332.
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config() -> ConfigDict:
  config = finetune.get_config()
  config.task = "ncRPI"
  config.data.folder = "ncRPI/gene_protein/binary_class"
  config.data.gene = "rna"  # Written in the letters of DNA there.
  config.data.columns = "rna=rna,protein=protein"
  config.paper = ConfigDict({"BSM-110M": 0.9494, "LucaOne": 0.938, "ESM2-3B + DNABERT2": 0.9332})
  return config
