"""Central Dogma: does this DNA encode this protein? Two classes, accuracy.

Data: LucaOne's CentralDogma, 3,200 / 2,400 / 20,000 pairs of 13 species, a third of them true. DNA up to 2,460 letters
and proteins up to 620: more than 1,024 tokens hold, and what remains of a truncated pair need not correspond.
Paper: BSM-270M close to LucaOne (0.850, as LucaOne's authors report it). LucaOne weights the positive class by 2.
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config() -> ConfigDict:
  config = finetune.get_config()
  config.task = "CentralDogma"
  config.class_weights = "1,2"
  config.data.folder = "CentralDogma/gene_protein/binary_class"
  config.data.gene = "dna"
  config.data.columns = "dna=dna,protein=protein"
  config.paper = ConfigDict({"LucaOne": 0.850})
  return config
