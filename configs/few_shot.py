"""A 1.8M model that reads a gene by the code that the genes before it show: in-context learning, on one CPU core.

  python -m data_pipelines.miniature --world=two_codes --genes=100 --out=RELEASE
  python -m data_pipelines.build --config=configs/data/few_shot.py --config.release=RELEASE --out=CORPORA
  python -m bsm_jax.train --config=configs/few_shot.py --config.data.root=CORPORA/rows --workdir=DIR
"""

from ml_collections import ConfigDict, config_dict

from configs import arms, miniature
from configs.data.few_shot import TAXA


def get_config(variations: str = "") -> ConfigDict:
  config = miniature.get_config()
  config.data.attend_across_documents = True
  tokens_per_step = config.data.batch_size * config.data.context
  config.rounds = ConfigDict()
  for number, steps, lr_end in ((1, 3000, 1e-3), (2, 1000, 0.0)):
    config.rounds[f"round{number}"] = {
        "tokens": steps * tokens_per_step,
        "weights": {f"{organism}_w3": 1.0 for organism in TAXA},
        "lr_start": 1e-3, "lr_end": lr_end, "warmup_tokens": 0.0,
    }
  config.rounds.round1.warmup_tokens = 20.0 * tokens_per_step
  config.eval.row_sets = ConfigDict({f"{organism}_w3": 8 for organism in list(TAXA)[:8]})
  config.figures = ConfigDict({
      "Held-out proteins, given their DNA and the pairs before": {
          organism: f"valid/{organism}_w3/protein" for organism in list(TAXA)[:8]
      },
  })
  for of_round in config.rounds.values():
    of_round.weights_file = config_dict.placeholder(str)
  return arms.apply(config, variations)
