"""What an evaluation found, with all that it depends on, as JSON; and many of them as one table.

A result is one file, `TASK.json`, so that tasks may be run on different days and machines. `table` puts them beside the
figures of the paper (arXiv 2410.11499).
"""

import dataclasses
import json
import math
import pathlib
import subprocess
from collections.abc import Mapping, Sequence

import jax
from etils import epath

import bsm_jax
from bsm_jax.comparison import page
from bsm_jax.comparison.tables import Cell, Table
from bsm_jax.inference.loaded import Model
from bsm_jax.inference.records import digest


class ResultError(ValueError):
  """A file that holds no result; the message names it and the remedy."""


@dataclasses.dataclass(frozen=True)
class Result:
  """What one task found.

  Attributes:
    task: its name.
    version: of the protocol, as its owner calls it, and of ours.
    metrics: by name; nan where a figure is not defined.
    intervals: of some of them, 95 %: lower and upper end.
    counts: of items, sequences, and whatever was left out, by name.
    seed: of what was drawn; several where a model was trained with each; None where nothing is drawn.
    data: by the name of each file its sha256.
    truncation: `policy` in words, and `share` of the inputs that it touched.
    checkpoint: `run`, `step`, and `sha256` of the parameters.
    code: `version` and `commit`, which is None outside a git checkout.
    parameters: of the model.
    settings: what else the figures depend on.
    notes: what a reader must know.
    spread: where a model was trained with several seeds: by metric the standard deviation over them.
    baselines: by name, of what stands beside it on the same data: `metrics`, `intervals` and `spread`.
  """

  task: str
  version: str
  metrics: dict[str, float]
  intervals: dict[str, tuple[float, float]]
  counts: dict[str, int]
  seed: int | list[int] | None
  data: dict[str, str]
  truncation: dict
  checkpoint: dict
  code: dict
  parameters: int
  settings: dict = dataclasses.field(default_factory=dict)
  notes: tuple[str, ...] = ()
  spread: dict[str, float] = dataclasses.field(default_factory=dict)
  baselines: dict[str, dict[str, dict]] = dataclasses.field(default_factory=dict)


def about_model(model: Model) -> dict:
  """The fields `checkpoint`, `code` and `parameters` of a result."""
  sizes = [leaf.size for leaf in jax.tree.leaves(model.params)]
  return {
      "checkpoint": {"run": model.name, "step": model.step, "sha256": model.params_sha256},
      "code": about_code(),
      "parameters": int(sum(sizes)),
  }


def about_code() -> dict:
  """The field `code` of a result."""
  return {"version": bsm_jax.__version__, "commit": commit()}


def commit() -> str | None:
  """The commit of the checkout that this code is run from; None if it is none, or there is no git."""
  folder = pathlib.Path(__file__).parent
  try:
    said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False)
  except OSError:
    return None
  return said.stdout.strip() or None


def about_data(paths: Mapping[str, str]) -> dict[str, str]:
  """The field `data` of a result. Args: by name, where each file is. Raises InputError if one cannot be read."""
  return {name: digest(path) for name, path in paths.items()}


# --- Files ---


def write(result: Result, out: str | epath.Path) -> epath.Path:
  """Writes `TASK.json` into a folder, whole or not at all; nan is null there. Returns its path."""
  folder = epath.Path(out)
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / f"{result.task}.json"
  unfinished = folder / f"unfinished.{path.name}.tmp"
  unfinished.write_text(json.dumps(without_nan(dataclasses.asdict(result)), indent=2) + "\n")
  unfinished.replace(path)
  return path


def without_nan(value):
  """What JSON can say of nested dicts and lists: nan and infinities become None."""
  if isinstance(value, dict):
    return {key: without_nan(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [without_nan(item) for item in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value


def read(path: str | epath.Path) -> Result:
  """A result from its file; what it holds beyond the fields of `Result` is left out.

  Raises:
    ResultError: it cannot be read, or is no result.
  """
  try:
    there = {"spread": {}, "baselines": {}} | json.loads(epath.Path(path).read_text())
    fields = {field.name: there[field.name] for field in dataclasses.fields(Result)}
    fields |= _figures(there) | {"notes": tuple(there["notes"])}
    fields["baselines"] = {name: _figures({"spread": {}} | of_one) for name, of_one in there["baselines"].items()}
    return Result(**fields)
  except (OSError, KeyError, TypeError, ValueError) as error:
    raise ResultError(
        f"{path} holds no result of an evaluation ({type(error).__name__}: {error}): delete it, and it is made again"
    ) from error


def _figures(there: dict) -> dict[str, dict]:
  """`metrics`, `intervals` and `spread` of what JSON holds, in which nan is null."""
  nan = lambda value: float("nan") if value is None else float(value)
  return {
      "metrics": {name: nan(value) for name, value in there["metrics"].items()},
      "intervals": {name: (nan(low), nan(high)) for name, (low, high) in there["intervals"].items()},
      "spread": {name: nan(value) for name, value in there["spread"].items()},
  }


def read_all(out: str | epath.Path) -> list[Result]:
  """All results in a folder and in those directly in it, by task and then by model.

  Other JSON objects, such as the seeds of a fine-tuning and what it was asked, are passed over.

  Raises:
    ResultError: a file is damaged, or a result lacks something.
  """
  folder = epath.Path(out)
  found = []
  for path in [*folder.glob("*.json"), *folder.glob("*/*.json")]:
    try:
      there = json.loads(path.read_text())
    except ValueError as error:
      raise ResultError(f"{path} is damaged ({error}): delete it, and it is made again") from error
    if isinstance(there, dict) and {"task", "metrics"} <= there.keys():
      found.append(read(path))
  return sorted(found, key=lambda result: (result.task, result.parameters, str(result.checkpoint)))


# --- Tables ---


@dataclasses.dataclass(frozen=True)
class PaperFigure:
  """What the paper reports of a task.

  Attributes:
    metric: the name of ours that it is beside.
    bsm_110m, bsm_270m: figures; a string where the paper has only words, None where it has nothing.
    others: the best of other models, in words.
  """

  metric: str
  bsm_110m: float | str | None = None
  bsm_270m: float | str | None = None
  others: str = ""


COLUMNS = ["task", "figure", "ours", "95 % interval", "± seeds", "BSM-110M", "BSM-270M", "others", "model", "truncated",
           "version"]  # fmt: skip
ABOUT = (
    "A row for each figure of each task. BSM-110M, BSM-270M and others are as the paper reports them (arXiv"
    " 2410.11499), ours is what the model of the row was seen to do on the files whose sha256 its JSON holds. Where it"
    " was fine-tuned with several seeds: their mean, the interval of that mean over test examples, and the deviation"
    " over seeds; below it, what the baselines make of the same data. Figures compare only where data, protocol and"
    " training data are the same: the notes say what differs."
)


def table(results: Sequence[Result], paper: Mapping[str, PaperFigure], *, details: bool = False) -> Table:
  """Results beside the paper's figures, which stand beside whole benchmarks only: not beside a part or a sample.

  Args:
    results: of any models.
    paper: by the name of the task.
    details: a row for every figure, instead of those without a slash in their name (`spearman/BLAT_…` is of one part).
  """
  rows = []
  for result in results:
    part = is_part(result.settings)
    beside = None if part else paper.get(result.task)
    arms = [(model_name(result), result.metrics, result.intervals, result.spread)]
    arms += [(f"baseline: {name}", x["metrics"], x["intervals"], x["spread"]) for name, x in result.baselines.items()]
    for name in result.metrics:
      if "/" in name and not details:
        continue
      for number, (model, metrics, intervals, spread) in enumerate(arms):
        is_beside = beside and beside.metric == name and number == 0
        of_paper = beside if is_beside else PaperFigure(name)
        rows.append([
            result.task, name, _shown(name, metrics[name]), _interval(intervals.get(name)), spread.get(name) or None,
            of_paper.bsm_110m, of_paper.bsm_270m, of_paper.others or None, model,
            f"{result.truncation.get('share', 0):.1%}", result.version + ", a part" * part,
        ])  # fmt: skip
  return Table(COLUMNS, rows)


def is_part(settings: Mapping) -> bool:
  """Whether these settings of a result mean a part or a sample of the task's data."""
  of_data = settings.get("data") or {}
  limits = (of_data.get(f"{part}_limit") for part in ("train", "dev", "test"))
  return bool(settings.get("assays") or settings.get("limit") or any(limits))


def _shown(name: str, value: float) -> Cell:
  if math.isnan(value):
    return None
  return f"{value:.1e}" if name.startswith("p_value") else value


def _interval(ends: tuple[float, float] | None) -> Cell:
  if ends is None or any(map(math.isnan, ends)):
    return None
  return f"{ends[0]:.4f} to {ends[1]:.4f}"


def model_name(result: Result) -> str:
  """Run, step and size, and the first of the parameters' sha256."""
  of = result.checkpoint
  name = pathlib.PurePath(str(of.get("run") or "unnamed")).name
  return f"{name} step {of.get('step')}, {result.parameters / 1e6:.1f}M ({str(of.get('sha256'))[:8]})"


def notes(results: Sequence[Result]) -> list[str]:
  """What must be known of them, each once, with the tasks that it is of."""
  of: dict[str, list[str]] = {}
  for result in results:
    for note in (*result.notes, f"Length policy: {result.truncation.get('policy', 'none')}."):
      of.setdefault(note, []).append(result.task)
  return [f"{', '.join(dict.fromkeys(tasks))}: {note}" for note, tasks in of.items()]


def write_tables(results: Sequence[Result], paper: Mapping[str, PaperFigure], out: str | epath.Path) -> list[str]:
  """Writes `results.md` and `results.html`, whose text is escaped and which loads nothing. Returns their paths."""
  short, full = table(results, paper), table(results, paper, details=True)
  title = "Evaluation"
  text = [f"# {title}\n\n{ABOUT}\n\n", short.as_markdown(), "\n## Notes\n\n", *(f"- {n}\n" for n in notes(results)),
          "\n## Every figure\n\n", full.as_markdown()]
  body = [
      page.element("h1", title), page.element("p", ABOUT), page.table_element(short), page.element("h2", "Notes"),
      page.element("ul", *(page.element("li", note) for note in notes(results))),
      page.element("h2", "Every figure"), page.table_element(full),
  ]
  folder = epath.Path(out)
  folder.mkdir(parents=True, exist_ok=True)
  for name, content in (("results.md", "".join(text)), ("results.html", page.document(title, body))):
    (folder / name).write_text(content)
  return [str(folder / "results.md"), str(folder / "results.html")]
