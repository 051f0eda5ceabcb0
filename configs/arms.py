"""Variations that every run config takes behind a colon: `--config=configs/bsm_110m.py:single,round2`.

  single          no mixed-modal data: each round keeps its tokens and the weights of its single-modal row sets, and one
                  without such takes those of the round before
  NAME            this round alone, to be started from an earlier run: `--config.init_from=RUN@round1`
  search_NAME     a short run on this round's mixture, for `configs/sweeps`: its first learning rate falls to zero
"""

from ml_collections import ConfigDict

SEARCH_STEPS = {"round2": 1000, "round3": 500}  # The paper's; other rounds take those of round 2.


def apply(config: ConfigDict, arms: str) -> ConfigDict:
  """The config under the variations named, separated by commas; "" leaves it as it is.

  Raises:
    ValueError: there is no such variation.
  """
  for arm in filter(None, arms.split(",")):
    if arm == "single":
      kept = {}
      for name in sorted(config.rounds):
        weights = config.rounds[name].weights
        kept = {row_set: weights[row_set] for row_set in weights if row_set.startswith("single_")} or kept
        config.rounds[name].weights = ConfigDict(kept)
    elif arm in config.rounds:
      config.rounds = ConfigDict({arm: config.rounds[arm]})
    elif arm.removeprefix("search_") in config.rounds:
      name = arm.removeprefix("search_")
      searched, tokens_per_step = config.rounds[name], config.data.batch_size * config.data.context
      steps = SEARCH_STEPS.get(name, SEARCH_STEPS["round2"])
      searched.update({"tokens": steps * tokens_per_step, "lr_end": 0.0, "warmup_tokens": 0.0})
      config.rounds = ConfigDict({arm: searched})
      config.eval.every_steps = config.checkpoint.every_steps = steps
    else:
      names = ", ".join(["single", *config.rounds, *(f"search_{name}" for name in config.rounds)])
      raise ValueError(f"no variation {arm!r} of this config: there are {names}")
  return config
