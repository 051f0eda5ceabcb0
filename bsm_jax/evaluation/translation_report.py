"""The translation diagnostic in figures: scored letters to means with their errors, tables, files and plots."""

import csv
import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence

import matplotlib
import numpy as np
from etils import epath

from bsm_jax import codons, tokenizer
from bsm_jax.tokenizer import Modality

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  (the backend must be chosen first)

PROTEIN = ("protein_given_dna", "protein_given_wrong_dna", "protein_alone")
DNA = ("dna_given_protein", "dna_given_wrong_protein", "dna_alone")
DEGENERACY, USAGE = "codon_degeneracy", "codon_usage"
_CONDITIONS = (*PROTEIN, *DNA, DEGENERACY, USAGE)
# Windows whose figures go by position; those of drawn lengths.
BY_POSITION = "w10_60"
_DRAWN = ("w", "full")
# The first of each bin, from 1; the last bin is open.
POSITION_BINS = (1, 2, 3, 5, 9, 17, 33, 65, 129, 257)
LENGTH_BINS = (1, 9, 16, 31, 46, 61, 121, 241)
# Where a model loses its place in a window it falls back on how frequent residues are, and W is rare: so tryptophans
# are also looked at near the start of windows that go beyond, where models learn to translate first.
_NEAR = 16

SECTIONS = {
    "windows": "Bits per residue of the protein, by windows",
    "code": "Bits per residue of the protein, by genetic code (windows of all lengths)",
    "tryptophan": "Bits per residue of the protein given its DNA: tryptophan by its codon, and all else",
    "position": f"Bits per residue of the protein, by its place in the window ({BY_POSITION})",
    "length": "Bits per residue of the protein, by codons in the window",
    "introns": "Bits per residue of the protein, genomic DNA with an intron against the same windows spliced",
    "dna": "Bits per nucleotide of the DNA, and what knowing the protein leaves of it",
}


@dataclasses.dataclass(frozen=True)
class Letters:
  """Scored letters, a row each.

  Attributes:
    document: number of the window that it is of; int [n].
    position: codons before its own in the window; int [n].
    length: codons of the window that have a residue; int [n].
    residue: token id of its residue; [n].
    codon: its codon (see `codons`), `UNKNOWN` where there is none; int [n].
    bits: what it cost; float [n].
    hit: whether it was the most likely letter; bool [n].
  """

  document: np.ndarray
  position: np.ndarray
  length: np.ndarray
  residue: np.ndarray
  codon: np.ndarray
  bits: np.ndarray
  hit: np.ndarray

  def where(self, mask: np.ndarray) -> "Letters":
    return Letters(**{name: column[mask] for name, column in vars(self).items()})


def concatenate(parts: Sequence[Letters]) -> Letters:
  """Letters of several windows, whose numbers differ, as one; none gives empty columns."""
  names = [field.name for field in dataclasses.fields(Letters)]
  return Letters(**{n: np.concatenate([np.zeros(0, int), *(getattr(p, n) for p in parts)]) for n in names})


def pool(parts: Iterable[Letters]) -> Letters:
  """Letters of several row sets as one: their windows are numbered anew."""
  first, numbered = 0, []
  for part in parts:
    numbered.append(dataclasses.replace(part, document=part.document + first))
    first += int(part.document.max(initial=-1)) + 1
  return concatenate(numbered)


@dataclasses.dataclass(frozen=True)
class Measured:
  """A row set that was scored; see `translation.Probe`."""

  organism: str
  code: int
  windows: str
  condition: str
  letters: Letters


@dataclasses.dataclass(frozen=True)
class Figure:
  """One number.

  Attributes:
    section: of `SECTIONS`.
    organism: whose genes; empty for several organisms together.
    code: their genetic code.
    group: which windows, positions, lengths or residues.
    condition: what was asked for, given what; or which bound it is.
    bits: mean over letters, of residues or nucleotides.
    error: its standard error, by bootstrap over windows; NaN for a single one.
    accuracy: share of letters that were the most likely ones; NaN for a bound.
    letters, documents: how many letters of how many windows.
  """

  section: str
  organism: str
  code: int
  group: str
  condition: str
  bits: float
  error: float
  accuracy: float
  letters: int
  documents: int


def bootstrap_error(values: np.ndarray, document: np.ndarray, resamples: int = 1000) -> float:
  """Standard error of the mean over letters when whole documents are drawn again, with replacement.

  Args:
    values: of the letters [n].
    document: which document each is of [n].
    resamples: how often all are drawn; the same draws every time.

  Returns:
    NaN for fewer than two documents.
  """
  _, of_letter = np.unique(document, return_inverse=True)
  sums, counts = np.bincount(of_letter, weights=values), np.bincount(of_letter)
  if len(counts) < 2:
    return float("nan")
  drawn = np.random.default_rng(0).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
  return float(np.std(drawn @ sums / (drawn @ counts)))


def bins(values: np.ndarray, starts: Sequence[int]) -> list[tuple[str, np.ndarray]]:
  """Name and mask of each bin with something in it.

  Args:
    values: int [n], from 1.
    starts: first value of each bin; the last bin has no end.
  """
  found = []
  for start, end in zip(starts, [*starts[1:], None]):
    mask = (values >= start) & (end is None or values < end)
    name = f"{start}-" if end is None else str(start) if end == start + 1 else f"{start}-{end - 1}"
    if mask.any():
      found.append((name, mask))
  return found


def summarize(measured: Sequence[Measured], usage: dict[str, np.ndarray]) -> list[Figure]:
  """All figures of scored row sets.

  Args:
    measured: the row sets.
    usage: by organism, its `codons.usage_bits`.
  """
  figures: list[Figure] = []

  def add(section, of: Measured, group, letters: Letters, condition=None, values=None, organism=None) -> None:
    """A figure of `letters`, where there are any; of `values` instead of their bits, for a bound."""
    if not len(letters.bits):
      return
    bits = letters.bits if values is None else values
    figures.append(Figure(
        section, of.organism if organism is None else organism, of.code, group, condition or of.condition,
        float(bits.mean()), bootstrap_error(bits, letters.document),
        float(letters.hit.mean()) if values is None else float("nan"), len(bits), len(np.unique(letters.document)),
    ))

  drawn: dict[tuple[str, int, str], list[Measured]] = {}  # by organism, code, condition
  for m in sorted(measured, key=lambda m: (m.organism, _shortest(m.windows))):
    if m.condition in DNA:
      add("dna", m, m.windows, m.letters)
      if m.condition == "dna_given_protein":
        _add_bounds(add, m, usage)
    elif m.windows in ("introns", "spliced"):
      add("introns", m, m.windows, m.letters)
    else:
      add("windows", m, m.windows, m.letters)
      if m.windows == BY_POSITION:
        for name, mask in bins(m.letters.position + 1, POSITION_BINS):
          add("position", m, name, m.letters.where(mask))
      if m.windows.startswith(_DRAWN) and m.windows != "whole":
        drawn.setdefault((m.organism, m.code, m.condition), []).append(m)
  for (*_, condition), of_organism in drawn.items():
    letters = pool(m.letters for m in of_organism)
    for name, mask in bins(letters.length, LENGTH_BINS):
      add("length", of_organism[0], name, letters.where(mask))
    if condition == "protein_given_dna":
      near = (letters.position < _NEAR) & (letters.length > _NEAR)
      for name, mask in _tryptophans(letters):
        add("tryptophan", of_organism[0], name, letters.where(mask))
        add("tryptophan", of_organism[0], f"{name} 1-{_NEAR}", letters.where(mask & near))
  by_code: dict[tuple[int, str], list[Measured]] = {}
  for (_, code, condition), of_organism in drawn.items():
    by_code.setdefault((code, condition), []).extend(of_organism)
  for (code, _), of_code in sorted(by_code.items()):
    add("code", of_code[0], f"code {code}", pool(m.letters for m in of_code), organism="")
  return figures


def _shortest(windows: str) -> tuple[int, str]:
  """Sorts `w3_8` before `w10_30`, and both before windows that have no numbers."""
  numbers = windows.removeprefix("w").split("_")
  return (int(numbers[0]) if numbers[0].isdigit() else sys.maxsize), windows


def _add_bounds(add, m: Measured, usage: dict[str, np.ndarray]) -> None:
  known = m.letters.where(m.letters.codon != codons.UNKNOWN)
  add("dna", m, m.windows, known, DEGENERACY, codons.degeneracy_bits(m.code)[known.codon] / 3)
  if m.organism in usage:
    add("dna", m, m.windows, known, USAGE, usage[m.organism][known.codon] / 3)


def _tryptophans(letters: Letters) -> list[tuple[str, np.ndarray]]:
  tryptophan = letters.residue == tokenizer.encode("W", Modality.PROTEIN)[0]
  of = {f"W ({codon})": tryptophan & (letters.codon == codons.number(codon)) for codon in ("TGA", "TGG")}
  return [*of.items(), ("not W", ~tryptophan)]


# --- Tables and files ---


def tables(figures: Sequence[Figure]) -> str:
  """Text: for each section a table of bits and their errors, the conditions side by side."""
  lines = []
  for section, title in SECTIONS.items():
    chosen = [f for f in figures if f.section == section]
    if not chosen:
      continue
    conditions = sorted({f.condition for f in chosen}, key=_CONDITIONS.index)
    lines += ["", title, f"{'organism':<11}{'code':>4}  {'':<12}" + "".join(f"{c:>25}" for c in conditions)
              + f"{'top 1':>8}{'letters':>9}{'windows':>9}"]
    for key in dict.fromkeys((f.organism, f.code, f.group) for f in chosen):
      of = {f.condition: f for f in chosen if (f.organism, f.code, f.group) == key}
      cells = [f"{of[c].bits:>16.3f} ± {of[c].error:<6.3f}" if c in of else " " * 25 for c in conditions]
      first = of.get(conditions[0]) or next(iter(of.values()))
      lines.append(f"{key[0]:<11}{key[1]:>4}  {key[2]:<12}{''.join(cells)}{first.accuracy:>8.1%}{first.letters:>9,}"
                   f"{first.documents:>9,}")
  return "\n".join(lines).lstrip("\n")


def write(figures: Sequence[Figure], out: epath.Path, about: dict) -> list[str]:
  """Writes `figures.json` (with `about` at its head), `figures.tsv` and the plots; returns their paths."""
  out.mkdir(parents=True, exist_ok=True)
  rows = [dataclasses.asdict(figure) for figure in figures]
  finite = [{k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()} for row in rows]
  (out / "figures.json").write_text(json.dumps(about | {"figures": finite}, indent=2) + "\n")
  with (out / "figures.tsv").open("w") as file:
    table = csv.DictWriter(file, [f.name for f in dataclasses.fields(Figure)], delimiter="\t", lineterminator="\n")
    table.writeheader()
    table.writerows(finite)
  return [str(out / "figures.json"), str(out / "figures.tsv"), *_draw(figures, out)]


# --- Plots ---

# A palette that stays apart for colour-blind readers (Okabe and Ito, 2008).
_COLOURS = {
    "protein_given_dna": "#009E73", "protein_given_wrong_dna": "#D55E00", "protein_alone": "#0072B2",
    "dna_given_protein": "#009E73", "dna_given_wrong_protein": "#D55E00", "dna_alone": "#0072B2",
    DEGENERACY: "#999999", USAGE: "#555555",
}


def _draw(figures: Sequence[Figure], out: epath.Path) -> list[str]:
  """A PNG for each section that has figures: a panel for each organism, a colour for each condition."""
  paths = []
  for section, title in SECTIONS.items():
    chosen = [f for f in figures if f.section == section]
    if not chosen:
      continue
    organisms = list(dict.fromkeys(f.organism for f in chosen))
    size = max(6.0, 4.6 * len(organisms)), 4.0
    picture, grid = plt.subplots(1, len(organisms), figsize=size, squeeze=False, sharey=True)
    for axes, organism in zip(grid[0], organisms):
      of = [f for f in chosen if f.organism == organism]
      groups = list(dict.fromkeys(f.group for f in of))
      conditions = sorted({f.condition for f in of}, key=_CONDITIONS.index)
      wide = 0.8 / len(conditions)
      for number, condition in enumerate(conditions):
        bars = [f for f in of if f.condition == condition]
        at = [groups.index(f.group) + (number - (len(conditions) - 1) / 2) * wide for f in bars]
        axes.bar(at, [f.bits for f in bars], wide, yerr=[np.nan_to_num(f.error) for f in bars],
                 color=_COLOURS[condition], label=condition.replace("_", " "), error_kw={"elinewidth": 0.8})
      slanted = {"rotation": 30, "ha": "right"} if max(map(len, groups)) > 8 else {}
      axes.set_xticks(range(len(groups)), groups, fontsize=8, **slanted)
      axes.set_title(organism, fontsize=10)
      axes.spines[["top", "right"]].set_visible(False)
    grid[0][0].set_ylabel("bits a nucleotide" if section == "dna" else "bits a residue")
    picture.suptitle(title, fontsize=11)
    picture.tight_layout(rect=(0, 0.06, 1, 1))
    legends = {name: bar for axes in grid[0] for bar, name in zip(*axes.get_legend_handles_labels())}
    picture.legend(legends.values(), legends.keys(), loc="lower center", ncols=len(legends), frameon=False, fontsize=8)
    with (out / f"{section}.png").open("wb") as file:
      picture.savefig(file, dpi=130, format="png")
    plt.close(picture)
    paths.append(str(out / f"{section}.png"))
  return paths
