"""Which mixture is best: reads a sweep's runs, names the winner, and proposes a mixture by a law fitted to all of them.

  python -m launch.sweep --config=configs/sweeps/round2_mixture.py --workdir=DIR --local \
    -- --config.init_from=RUN@round1 --config.data.root=ROWS
  python -m bsm_jax.mixture_search --workdir=DIR --out=round2.json
  python -m bsm_jax.mixture_search --workdir=DIR,DIR_OF_SEED_1 --out=round2.json \
    --objective=valid/single_dna/loss,valid/single_protein/loss --weights=1,1

The lowest weighted mean of the objectives at the end of a run wins (arXiv 2410.11499 says "validation loss"; the
default is that of every `single_...` row set). Runs of several seeds, from several folders, are averaged, and what a
seed shifts all its runs by is taken out first (`bsm_jax/mixtures/seeds.py`). Unfinished and diverged runs are left out
and named. Written are

  OUT.json           the winner's `weights`, for `--config.rounds.NAME.weights_file=`; its table; the law; the proposal
  OUT_proposal.json  the `weights` that the law proposes, for the same setting
  OUT.png, OUT.csv   the losses by mixture, and by each corpus' share

The law (`bsm_jax/mixtures/law.py`) goes beyond the paper. It is worth as much as its error on mixtures left out, which
is printed beside that of predicting the mean: where it explains less than half of their variance, it is not to be
relied on. Its spreads come from a bootstrap, which takes the law's form for true.
"""

import csv
import dataclasses
import json
import shlex
import sys

import matplotlib
import numpy as np
from absl import app, flags
from etils import epath

from bsm_jax.mixtures import law as law_lib
from bsm_jax.mixtures.proposal import Fitted, fit_law
from bsm_jax.mixtures.runs import Mixture, Search, SearchError, read_search

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  (the backend must be chosen first)

# Of Okabe and Ito (2008), as in `bsm_jax.report`.
_BLUE, _ORANGE, _GREEN = "#0072B2", "#D55E00", "#009E73"
# Of the variance of mixtures left out. In 60 searches of nine mixtures whose losses were noise, a third of the laws
# were better than the mean, and none explained more than 0.42.
_LITTLE = 0.5


def ratio(search: Search, mixture: Mixture) -> str:
  """Shares of the corpora in percent, "77 : 15 : 7.7"."""
  return " : ".join(f"{100 * mixture.share(corpus):.3g}" for corpus in search.corpora)


def table(search: Search, fitted: Fitted | None) -> list[dict]:
  """A row for each mixture, the best first; `predicted` is by the law of all other mixtures' runs."""
  rows, done = [], 0
  for mixture in search.mixtures:
    values, predicted = search.values(mixture), None
    if fitted:
      predicted = float(fitted.predicted[done])
    done += len(mixture.runs)
    rows.append({
        "shares": {corpus: mixture.share(corpus) for corpus in search.corpora},
        "weights": dict(mixture.weights),
        "runs": list(mixture.runs),
        "losses": dict(zip(search.objectives, mixture.losses.mean(0).tolist())),
        "value": float(values.mean()),
        "spread": float(values.std(ddof=1)) if len(values) > 1 else None,
        "predicted": predicted,
    })
  return rows


def as_markdown(search: Search, rows: list[dict]) -> str:
  """The table as text."""
  names = [metric.removeprefix("valid/").removesuffix("/loss") for metric in search.objectives]
  lines = [[" : ".join(search.corpora) + ", %", "seeds", *names, "weighted mean", "spread", "law, left out"]]
  shown = lambda value: "-" if value is None else f"{value:.4f}"
  for mixture, row in zip(search.mixtures, rows):
    lines.append([ratio(search, mixture), str(len(row["runs"])), *map(shown, row["losses"].values()),
                  shown(row["value"]), shown(row["spread"]), shown(row["predicted"])])  # fmt: skip
  text = ["| " + " | ".join(line) + " |\n" for line in lines]
  return "".join([text[0], "|" + "---|" * len(lines[0]) + "\n", *text[1:]])


def about_winner(search: Search) -> str:
  """Who won, and whether chance could have decided it."""
  winner = search.mixtures[0]
  line = f"Lowest: {ratio(search, winner)} % at {search.values(winner).mean():.4f} ({', '.join(winner.runs)})."
  spread, freedom = search.spread
  if len(search.seed_shifts) > 1:
    shifts = ", ".join(f"{shift:+.4f} (seed {seed})" for seed, shift in search.seed_shifts.items())
    line += f"\nSeeds shift all their runs by {shifts}, which is taken out."
  if not freedom:
    return (f"{line}\nNothing is known of the spread between runs, nor whether this is a tie: that takes two mixtures"
            " with the same two seeds, or more.")
  line += f"\nSpread between runs {spread:.4f} ({freedom} degrees of freedom): "
  ties = search.ties()
  if not ties:
    return line + "no other mixture is within it."
  return line + f"a tie with {', '.join(ratio(search, m) + ' %' for m in ties)}."


def proposes_the_winner(search: Search, fitted: Fitted) -> bool:
  """Whether the law's best mixture is, to a tenth of a percent, the best one tried."""
  shares = [search.mixtures[0].share(corpus) for corpus in fitted.corpora]
  return bool(np.allclose(fitted.proposal.shares, shares, rtol=0, atol=1e-3))


def about_law(search: Search, fitted: Fitted) -> str:
  """The law's worth and its proposal."""
  form, proposal = fitted.law.form, fitted.proposal
  errors = ", ".join(f"{name} {error:.5f}" for name, error in fitted.errors.items() if name != "mean")
  lines = [f"Law: {form}, L = {law_lib.FORMS[form]}. Error on mixtures left out: {errors}; predicting the mean"
           f" {fitted.errors['mean']:.5f}, so {100 * fitted.explained:.0f} % explained."]  # fmt: skip
  if "exponential" not in fitted.errors:
    least = law_lib.needed(len(fitted.corpora))["exponential"]
    lines.append(f"The law with a floor needs {least} different mixtures; this is the simpler, shrunken form, which"
                 " finds no optimum between the extremes unless objectives pull apart.")
  if fitted.explained < _LITTLE:
    lines.append(f"It explains less than {100 * _LITTLE:.0f} % of the variance of mixtures left out, as a law of noise"
                 " may: do not rely on the proposal.")  # fmt: skip
  shares = ", ".join(
      f"{corpus} {100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
      for corpus, share, low, high in zip(fitted.corpora, proposal.shares, proposal.low, proposal.high)
  )
  lines.append(f"Proposal: {shares}; in brackets 90 % of {len(fitted.laws)} bootstrap fits.")
  if proposes_the_winner(search, fitted):
    against = "this is the winner's own mixture, and a run of one is a run of the other."
  else:
    against = f"below the winner by {proposal.gain:.4f} +- {proposal.gain_spread:.4f}"
    against += ", which is no difference." if proposal.gain < 2 * proposal.gain_spread else "."
  shift_apart = " (its seed's shift apart)" if len(search.seed_shifts) > 1 else ""
  lines.append(f"Predicted: {proposal.value:.4f} +- {proposal.law_spread:.4f}, for one new run"
               f" +- {proposal.run_spread:.4f}{shift_apart}; {against}")  # fmt: skip
  if proposal.at_border:
    lines.append("It lies on the border of what was tried (the convex hull of the runs' mixtures): the best mixture may"
                 " lie beyond; add points to the sweep there.")
  return "\n".join(lines)


def next_commands(search: Search, out: epath.Path, fitted: Fitted | None) -> str:
  """Commands that train on the winner, and try the proposal in a run like those of the search."""
  note, config = epath.Path(search.example.folder) / "sweep.json", search.example.config
  if note.exists():
    said = json.loads(note.read_text())
    base = next(a.removeprefix("--config=") for a in said["arguments"] if a.startswith("--config="))
    given = said["extra"]
  else:
    base, given = f"CONFIG:{search.round}", [f"--config.data.root={config['data']['root']}"]
    given += [f"--config.init_from={config['init_from']}"] if config.get("init_from") else []

  def command(name: str, given: list[str], file: epath.Path, workdir: str) -> str:
    what = [f"--config={base.replace(search.round, name)}", *given, f"--config.rounds.{name}.weights_file={file}"]
    return "  " + shlex.join(["python", "-m", "bsm_jax.train", *what, f"--workdir={workdir}"])

  of_round = [argument for argument in given if not argument.startswith("--config.rounds.")]
  lines = ["Next, the round itself on the winner:"]
  lines.append(command(search.round.removeprefix("search_"), of_round, out, "DIR"))
  if fitted and not proposes_the_winner(search, fitted):
    lines.append("or the proposal in a run like these, to compare with the winner's:")
    lines.append(command(search.round, given, proposal_path(out), "DIR_OF_PROPOSAL"))
  return "\n".join(lines)


def proposal_path(out: epath.Path) -> epath.Path:
  return out.with_name(out.stem + "_proposal.json")


def write(search: Search, fitted: Fitted | None, refusal: str | None, out: epath.Path) -> list[epath.Path]:
  """The winner, the proposal if there is one, the table as CSV and the figure; gives their paths."""
  rows = table(search, fitted)
  best, objectives = rows[0], list(search.objectives)
  said = {
      "weights": best["weights"],
      "from": best["runs"],
      "round": search.round,
      "objective": dict(search.objectives),
      "value": best["value"],
      "spread": best["spread"],
      "seed_shifts": search.seed_shifts,
      "ties": [list(mixture.runs) for mixture in search.ties()],
      "table": rows,
      "left_out": list(search.left_out),
      "law": {"refused": refusal},
  }
  paths = [out, out.with_suffix(".csv"), out.with_suffix(".png")]
  if fitted:
    law, proposal = fitted.law, dataclasses.asdict(fitted.proposal)
    by_corpus = lambda values: dict(zip(fitted.corpora, np.asarray(values).tolist()))
    said["law"] = {
        "form": law.form,
        "formula": law_lib.FORMS[law.form],
        "c": dict(zip(objectives, law.floors.tolist())),
        "t": {metric: by_corpus(slopes) for metric, slopes in zip(objectives, law.slopes)},
        "error_left_out": fitted.errors,
    }
    proposal |= {key: by_corpus(proposal[key]) for key in ("shares", "low", "high")}
    said["proposal"] = {"weights": fitted.weights, "explained": fitted.explained, **proposal}
    paths.append(proposal_path(out))
    paths[-1].write_text(json.dumps(said["proposal"], indent=2) + "\n")
  else:
    proposal_path(out).unlink(missing_ok=True)  # One of an earlier call would not be of these runs.
  out.write_text(json.dumps(said, indent=2) + "\n")
  with paths[1].open("w") as file:
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow([*search.corpora, *objectives, "weighted mean", "spread", "predicted, left out", "runs"])
    for row in rows:
      lines.writerow([*row["shares"].values(), *row["losses"].values(), row["value"], row["spread"], row["predicted"],
                      " ".join(row["runs"])])  # fmt: skip
  draw(search, fitted, paths[2])
  return paths


def draw(search: Search, fitted: Fitted | None, path: epath.Path) -> None:
  """Losses by mixture, and over the share of each corpus with the law through the proposal."""
  corpora = fitted.corpora if fitted else search.corpora
  figure, panels = plt.subplots(1, 1 + len(corpora), figsize=(5 + 3 * len(corpora), 3.8), squeeze=False,
                                gridspec_kw={"width_ratios": [1.6] + [1] * len(corpora)})  # fmt: skip
  by_mixture, *by_share = panels[0]
  for place, mixture in enumerate(search.mixtures):
    values = search.values(mixture)
    by_mixture.plot(values, [place] * len(values), "o", color=_BLUE, markersize=4)
    for axes, corpus in zip(by_share, corpora):
      axes.plot([100 * mixture.share(corpus)] * len(values), values, "o", color=_BLUE, markersize=4)
  by_mixture.set_yticks(range(len(search.mixtures)), [ratio(search, m) for m in search.mixtures], fontsize=7)
  by_mixture.invert_yaxis()
  shifted = ", without seeds' shifts" if len(search.seed_shifts) > 1 else ""
  by_mixture.set(title=" : ".join(search.corpora) + ", %", xlabel=f"weighted loss, nats a target{shifted}")
  if fitted:
    _draw_law(search, fitted, by_mixture, by_share)
  for axes, corpus in zip(by_share, corpora):
    axes.set(title=corpus, xlabel="share, %")
  for axes in panels[0]:
    axes.title.set_fontsize(9)
    axes.spines[["top", "right"]].set_visible(False)
  figure.tight_layout()
  with path.open("wb") as file:
    figure.savefig(file, dpi=150, format="png")
  plt.close(figure)


def _draw_law(search: Search, fitted: Fitted, by_mixture, by_share) -> None:
  rows = table(search, fitted)
  proposal, weights = fitted.proposal, search.objective_weights
  by_mixture.plot([row["predicted"] for row in rows], range(len(rows)), "x", color=_ORANGE, label="law, left out")
  by_mixture.errorbar(proposal.value, -1, xerr=proposal.run_spread, fmt="D", color=_GREEN, markersize=5,
                      label="proposal, one new run")  # fmt: skip
  by_mixture.legend(frameon=False, fontsize=7)
  tried = np.array([[m.share(corpus) for corpus in fitted.corpora] for m in search.mixtures])
  whole = proposal.shares.sum()
  for j, axes in enumerate(by_share):
    # Others keep their proportions among themselves.
    line = np.linspace(tried[:, j].min(), tried[:, j].max(), 60)
    others = np.delete(proposal.shares, j) + 1e-9  # They may all be zero.
    shares = np.insert(np.outer(whole - line, others / others.sum()), j, line, axis=1)
    at = lambda law: law(shares) @ weights  # noqa: B023 (used in this turn of the loop)
    axes.fill_between(100 * line, *np.percentile([at(law) for law in fitted.laws], (5, 95), axis=0), color=_ORANGE,
                      alpha=0.25, linewidth=0)  # fmt: skip
    axes.plot(100 * line, at(fitted.law), color=_ORANGE, linewidth=1.4)
    axes.plot(100 * proposal.shares[j], proposal.value, "D", color=_GREEN, markersize=5)


def search_and_write(search: Search, out: epath.Path) -> str:
  """Fits the law if the runs suffice, writes everything and gives the text that the command prints."""
  fitted, refusal = None, None
  try:
    fitted = fit_law(search)
  except law_lib.LawError as error:
    refusal = str(error)
  paths = write(search, fitted, refusal, out)
  text = [as_markdown(search, table(search, fitted)).rstrip()]
  text += [f"left out: {line}" for line in search.left_out]
  text += [about_winner(search), about_law(search, fitted) if fitted else f"No law is fitted: {refusal}."]
  text += [f"Written: {', '.join(map(str, paths))}", next_commands(search, out, fitted)]
  return "\n\n".join(text)


def main(argv) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
  args = flags.FLAGS
  out = epath.Path(args.out)
  if out.suffix != ".json":
    raise app.UsageError(f"--out={args.out}: give a file that ends in .json")
  try:
    weights = [float(weight) for weight in args.weights]
  except ValueError as error:
    raise app.UsageError(f"--weights: {error}; give numbers, as 1,1,2") from error
  try:
    search = read_search(args.workdir, args.objective, weights)
  except SearchError as error:
    sys.exit(f"error: {error}")
  out.parent.mkdir(parents=True, exist_ok=True)
  print(search_and_write(search, out))


if __name__ == "__main__":
  flags.DEFINE_list("workdir", None, "Folders of the sweep, each with its runs; one for each seed.")
  flags.DEFINE_list("objective", [], "Metrics to lower; default: valid/.../loss of every single_... row set.")
  flags.DEFINE_list("weights", [], "Their weights; default: equal.")
  flags.DEFINE_string("out", None, "File for the winner, ending in .json; figure, table and proposal go beside it.")
  flags.mark_flags_as_required(["workdir", "out"])
  app.run(main)
