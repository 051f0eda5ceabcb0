"""The mixture of round 2: short runs from the end of round 1, single : RefSeq : GRS around the paper's 10 : 2 : 1.

Expect: 9 runs of 1000 steps for BSM-110M, each annealed to zero (paper's mixture search); the table names the winner.

  python -m launch.sweep --config=configs/sweeps/round2_mixture.py --workdir=DIR --local \
    -- --config.init_from=RUN@round1 --config.data.root=ROWS
  python -m bsm_jax.mixture_search --workdir=DIR --out=round2.json

Another base stands behind a colon, with the round to search where the base has no `round2`, or several:

  --config=configs/sweeps/round2_mixture.py:configs/miniature.py
  --config=configs/sweeps/round2_mixture.py:configs/small.py:search_round3

Inside a corpus the row sets keep the base's proportions; a corpus that the base's round lacks is left out of the
ratios, and one that the ratios do not speak of keeps its share. The base's own mixture is always one of the points, and
points close to another are left out. Shorter runs: `-- --config.rounds.search_round2b.tokens=307200`. Other seeds:
`-- --config.seed=1` with another --workdir.
"""

import runpy
from collections.abc import Iterator, Mapping, Sequence

from ml_collections import ConfigDict

from bsm_jax.mixtures.corpora import corpus_of

# Single : RefSeq : GRS. Single sequences nearly alone, pairs nearly alone, one kind of pairs without the other: a law
# fitted to the runs has to lie between points that were tried, and the first ones already vary in every direction.
# Above zero, as all runs shall read the same row sets.
RATIOS = (
    (10, 2, 1), (10, 0.1, 0.05), (10, 6, 0.25), (10, 0.5, 4), (10, 16, 8),
    (10, 0.5, 0.25), (10, 5, 2.5), (10, 32, 0.5), (10, 1, 24),
)  # fmt: skip
# Points whose shares of the ratio's corpora all differ by less are one; ratios may become so where a corpus is lacking.
_CLOSE = 0.05


def get_config(base: str = "configs/bsm_110m.py") -> ConfigDict:
  return around(RATIOS, base, round_prefix="round2", main=("single",))


def around(ratios: Sequence[Sequence[float]], base: str, *, round_prefix: str, main: Sequence[str]) -> ConfigDict:
  """A sweep over the mixture of one round.

  Args:
    ratios: main corpus : RefSeq pairs : Gene Related Sequences, positive.
    base: a run config's path, with its variations behind a colon.
    round_prefix: searched is the last round whose name begins so, unless the variations leave a single round.
    main: which corpus the first number stands for: the first of these that the round has.

  Raises:
    ValueError: the base has no such round, or that has too few of these corpora.
  """
  path, _, variations = base.partition(":")
  make = runpy.run_path(path)["get_config"]
  config = make(variations)
  if len(config.rounds) > 1:
    found = sorted(name for name in config.rounds if name.startswith(round_prefix))
    if not found:
      raise ValueError(f"{base} has no {round_prefix}: name one of {', '.join(sorted(config.rounds))} behind a colon,"
                       f" as {path}:search_{max(config.rounds)}")
    variations = ",".join(filter(None, [variations, f"search_{found[-1]}"]))
    config = make(variations)
  ((name, searched),) = config.rounds.items()
  weights = {row_set: weight for row_set, weight in searched.weights.items() if weight}
  present = {corpus_of(row_set) for row_set in weights}
  first = next((corpus for corpus in main if corpus in present), None)
  axes = [corpus if corpus in present else None for corpus in (first, "refseq_pairs", "gene_related")]
  if len(set(axes) - {None}) < 2:
    raise ValueError(f"{path}:{variations} mixes {', '.join(sorted(present))}: a search needs two or more of"
                     f" {', '.join([*main, 'refseq_pairs', 'gene_related'])} in the round; name another behind a colon")
  sweep = ConfigDict()
  sweep.base = f"{path}:{variations}"
  sweep.overrides = [
      {f"rounds.{name}.weights.{row_set}": weight for row_set, weight in point.items()}
      for point in _points(weights, axes, ratios)
  ]
  sweep.metrics = [f"valid/{row_set}/loss" for row_set in config.eval.row_sets]
  return sweep


def _points(
    weights: Mapping[str, float], axes: Sequence[str | None], ratios: Sequence[Sequence[float]]
) -> Iterator[dict[str, float]]:
  """Row-set weights of the base's own mixture and of each ratio that is not close to one before it."""
  in_base = {corpus: sum(w for row_set, w in weights.items() if corpus_of(row_set) == corpus) for corpus in axes}
  named = sum(in_base.values())
  own = [10 * in_base[corpus] / in_base[next(filter(None, axes))] for corpus in axes]
  seen = []
  for ratio in (own, *ratios):
    parts = {corpus: part for corpus, part in zip(axes, ratio) if corpus}
    shares = [part / sum(parts.values()) for part in parts.values()]
    if any(max(abs(a - b) for a, b in zip(shares, before)) < _CLOSE for before in seen):
      continue
    seen.append(shares)
    # What the ratio does not speak of keeps its share of the whole.
    scale = {corpus: part / in_base[corpus] for corpus, part in parts.items()}
    others = sum(parts.values()) / named
    point = {row_set: weight * scale.get(corpus_of(row_set), others) for row_set, weight in weights.items()}
    yield {row_set: float(f"{weight:.6g}") for row_set, weight in point.items()}
