"""The figures of a report: each once as PNG, for slides, and once as SVG, for the page.

Text and axes have one colour, `INK`. The page replaces it by its own text colour, so that the figures follow it into
dark mode; every other colour is readable on both.
"""

import dataclasses
import io
from collections.abc import Callable, Iterator, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.backends import backend_agg, backend_svg
from matplotlib.figure import Figure

from bsm_jax.tokenizer import AMINO_ACID_CODES, FIRST_AMINO_ACID, FIRST_NUCLEOTIDE, NUCLEOTIDES, Modality
from data_pipelines.inspection import statistics
from data_pipelines.inspection.names import printable
from data_pipelines.inspection.samples import RESIDUE_CLASSES
from data_pipelines.inspection.statistics import MODALITIES, NUCLEIC, Order, SequenceStatistics
from data_pipelines.inspection.survey import Survey
from data_pipelines.inspection.tables import clipped, order_name, short_number

INK = "#16202a"
# Okabe and Ito (2008): colours that stay apart for colour-blind readers.
MODALITY_COLOURS = {"dna": "#0072b2", "rna": "#d55e00", "protein": "#009e73"}
KIND_COLOURS = {
    "a": "#009e73", "c": "#0072b2", "g": "#e69f00", "t": "#d55e00", "n": "#8a929c",
    "small": "#e69f00", "hydrophobic": "#009e73", "polar": "#cc79a7", "negative": "#d55e00", "positive": "#0072b2",
    "other": "#8a929c",
}
MAX_TAXA = 20
MAX_ORDERS = 16
_NEUTRAL = "#8a929c"
_WIDTH = 9.5  # inches
_STYLE = {
    "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False, "axes.axisbelow": True,
    "axes.linewidth": 0.8, "xtick.major.size": 3, "ytick.major.size": 0, "legend.frameon": False,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.titlecolor": INK, "grid.color": INK, "grid.alpha": 0.15, "grid.linewidth": 0.6,
    "text.parse_math": False,  # names are not to be trusted: a dollar sign would begin a formula
    "svg.fonttype": "none", "figure.constrained_layout.use": True,
}


@dataclasses.dataclass(frozen=True)
class Drawn:
  """A figure.

  Attributes:
    name: of its file, without `.png`.
    title: a few words.
    caption: what is to be seen, in a sentence or two.
    png, svg: its two forms.
  """

  name: str
  title: str
  caption: str
  png: bytes
  svg: str


def draw_all(survey: Survey) -> list[Drawn]:
  """Every figure that the survey has numbers for."""
  return list(_draw_all(survey))


def _draw_all(survey: Survey) -> Iterator[Drawn]:
  yield _drawn(
      "letters", "Letters by modality", "Bases and residues in the documents of each corpus, and in each row set.",
      lambda: _letters(survey),
  )
  if any(set(c.statistics.letters_by_taxon()) - {0} for c in survey.corpora):
    yield _drawn(
        "taxa", "Letters by taxon", "Left: letters of each taxon in all corpora. Right: GC content of its DNA, median"
        " (dot) and middle half (line) of the letters.", lambda: _taxa(survey),
    )
  if survey.corpora:
    yield _drawn(
        "lengths", "Lengths of documents", "How long the sequences in documents are, for each modality the share of its"
        " sequences in each doubling of length.", lambda: _lengths(survey),
    )
  yield _drawn(
      "composition", "Composition", "GC content of the sequences, and how frequent bases and residues are,"
      f" in all {'corpora' if survey.corpora else 'row sets'} together.", lambda: _composition(survey),
  )
  if survey.row_sets:
    yield _drawn(
        "rows", "Inside the rows", "For each row set: how long a sequence is as rows show it, how many documents share"
        " a row, and how much of a row is no padding.", lambda: _rows(survey),
    )
  if len({order for _, orders in _order_columns(survey) for order in orders}) > 1:
    yield _drawn(
        "orders", "Orders of modalities", "Share of the documents that show these modalities in this order.",
        lambda: _orders(survey),
    )


def _drawn(name: str, title: str, caption: str, draw: Callable[[], Figure]) -> Drawn:
  with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
    figure = draw()
    png, svg = io.BytesIO(), io.BytesIO()
    backend_agg.FigureCanvasAgg(figure).print_png(png, metadata={"Software": None}, pil_kwargs={"optimize": True})
    figure.patch.set_visible(False)
    for axes in figure.axes:
      axes.patch.set_visible(False)
    backend_svg.FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
  return Drawn(name, title, caption, png.getvalue(), svg.getvalue().decode())


def _figure(height: float) -> Figure:
  return Figure(figsize=(_WIDTH, height), dpi=150, facecolor="white")


def _stacked(axes: Axes, labels: Sequence[str], letters: np.ndarray) -> None:
  """Horizontal bars, the first on top; letters float [n, 3] by modality."""
  at = np.arange(len(labels))
  begin = np.zeros(len(labels))
  for modality, column in zip(MODALITIES, letters.T):
    name = modality.name.lower()
    axes.barh(at, column, left=begin, height=0.72, color=MODALITY_COLOURS[name], label=name)
    begin = begin + column
  for y, total in enumerate(begin):
    axes.annotate(short_number(total), (total, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
  axes.set_yticks(at, [_clipped(label) for label in labels])
  axes.set_ylim(len(labels) - 0.4, -0.6)
  axes.set_xlim(0, begin.max() * 1.12)
  axes.xaxis.set_major_formatter(short_number)
  axes.grid(axis="x")


def _clipped(text: str) -> str:
  return clipped(printable(text), 36)


def _modality_legend(figure: Figure, axes: Axes) -> None:
  handles, labels = axes.get_legend_handles_labels()
  figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), handlelength=1, handleheight=1)


def _letters(survey: Survey) -> Figure:
  groups = [("Documents", survey.corpora), ("Rows", survey.row_sets)]
  groups = [(title, parts) for title, parts in groups if parts]
  sizes = [len(parts) + 1.2 for _, parts in groups]
  figure = _figure(0.26 * sum(sizes) + 0.8)
  for axes, (title, parts) in zip(figure.subplots(len(sizes), squeeze=False, height_ratios=sizes)[:, 0], groups):
    totals = [[sum(s.letters[m.name.lower()] for s in p.splits.values()) for m in MODALITIES] for p in parts]
    _stacked(axes, [p.name for p in parts], np.array(totals))
    axes.set(title=title, xlabel="letters")
  _modality_legend(figure, axes)
  return figure


def _taxa(survey: Survey) -> Figure:
  everything = survey.everything()
  by_taxon = everything.letters_by_taxon()
  taxa = list(by_taxon)[:MAX_TAXA]
  labels = [survey.taxon(t) for t in taxa]
  letters = [by_taxon[t] for t in taxa]
  if others := list(by_taxon)[MAX_TAXA:]:
    labels.append(f"{len(others):,} more taxa")
    letters.append(sum(by_taxon[t] for t in others))
  figure = _figure(0.24 * len(labels) + 1.3)
  left, right = figure.subplots(1, 2, width_ratios=(2.2, 1), sharey=True)
  _stacked(left, labels, np.array(letters))
  left.set(xlabel="letters", title="Letters")
  dna = everything.only(Modality.DNA)
  known = ~np.isnan(dna.gc)
  for y, taxon in enumerate(taxa):
    chosen = known & (dna.taxon == taxon)
    weights = (dna.weight * dna.length)[chosen]  # by letters: short sequences scatter
    low, middle, high = statistics.quantiles(dna.gc[chosen], weights, (0.25, 0.5, 0.75))
    right.plot([low, high], [y, y], color=MODALITY_COLOURS["dna"], linewidth=2, alpha=0.55, solid_capstyle="round")
    right.plot([middle], [y], "o", color=MODALITY_COLOURS["dna"], markersize=4.5)
  right.set(xlim=(0.1, 0.9), xlabel="GC content of DNA", title="GC")
  right.xaxis.set_major_formatter(ticker.PercentFormatter(1, 0))
  right.grid(axis="x")
  _modality_legend(figure, left)
  return figure


def _density(axes: Axes, values: np.ndarray, weights: np.ndarray, edges: np.ndarray, **style) -> None:
  """Share of the weight in each doubling of the value, as a filled curve of steps."""
  heights, _ = np.histogram(values, edges, weights=weights)
  heights = heights / weights.sum() / np.log2(edges[1:] / edges[:-1])
  axes.stairs(heights, edges, fill=True, alpha=0.3, linewidth=0, color=style["color"])
  axes.stairs(heights, edges, linewidth=1.4, **style)


def _length_edges(least: int, most: int) -> dict[Modality, np.ndarray]:
  """Bins of lengths by modality: as wide as a codon at least where the sequence may be a coding one."""
  return {m: statistics.log_bins(least, most, width=3 if m in NUCLEIC else 1) for m in MODALITIES}


def _lengths(survey: Survey) -> Figure:
  figure = _figure(1.75 * len(survey.corpora) + 0.7)
  grid = figure.subplots(len(survey.corpora), squeeze=False, sharex=True)[:, 0]
  lengths = np.concatenate([c.statistics.length for c in survey.corpora])
  edges = _length_edges(int(lengths.min()), int(lengths.max()))
  for axes, corpus in zip(grid, survey.corpora):
    for modality in MODALITIES:
      part = corpus.statistics.only(modality)
      if len(part.length):
        name = modality.name.lower()
        count, median = part.weight.sum(), statistics.quantiles(part.length, part.weight, (0.5,))[0]
        label = f"{name}: {short_number(count)} sequences, median {median:,.0f}"
        _density(axes, part.length, part.weight, edges[modality], color=MODALITY_COLOURS[name], label=label)
    axes.set(title=_clipped(corpus.name), xscale="log", ylabel="share per doubling")
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1, 0))
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, handlelength=1)
    axes.grid()
  _letter_axis(grid[-1])
  return figure


def _letter_axis(axes: Axes) -> None:
  axes.xaxis.set_major_formatter(short_number)
  axes.xaxis.set_minor_formatter(ticker.NullFormatter())
  axes.set_xlabel("letters")


def _composition(survey: Survey) -> Figure:
  everything = survey.everything()
  panels = []
  if any(everything.letter_counts[MODALITIES.index(m)].any() for m in NUCLEIC):
    panels += [(_gc, 1.15), (_bases, 0.8)]
  if everything.letter_counts[MODALITIES.index(Modality.PROTEIN)].any():
    panels.append((_residues, 1.7))
  figure = _figure(2.9)
  grid = figure.subplots(1, len(panels), squeeze=False, width_ratios=[width for _, width in panels])[0]
  for axes, (draw, _) in zip(grid, panels):
    draw(axes, everything)
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1, 0))
    axes.grid(axis="y")
  return figure


def _gc(axes: Axes, everything: SequenceStatistics) -> None:
  edges = np.linspace(0, 1, 51)
  for modality in NUCLEIC:
    part = everything.only(modality)
    known = ~np.isnan(part.gc)
    if known.any():
      colour = MODALITY_COLOURS[modality.name.lower()]
      heights, _ = np.histogram(part.gc[known], edges, weights=(part.weight * part.length)[known])
      axes.stairs(heights / heights.sum(), edges, fill=True, alpha=0.3, linewidth=0, color=colour)
      axes.stairs(heights / heights.sum(), edges, linewidth=1.4, color=colour, label=modality.name.lower())
  axes.set(title="GC content", xlabel="GC of a sequence", ylabel="share of letters", ylim=(0, None))
  axes.xaxis.set_major_formatter(ticker.PercentFormatter(1, 0))
  axes.legend(fontsize=8, handlelength=1)


def _bases(axes: Axes, everything: SequenceStatistics) -> None:
  at = np.arange(len(NUCLEOTIDES))
  for i, modality in enumerate(NUCLEIC):
    counts = everything.letter_counts[MODALITIES.index(modality)]
    if counts.any():
      heights = counts[FIRST_NUCLEOTIDE : FIRST_NUCLEOTIDE + len(NUCLEOTIDES)] / counts.sum()
      axes.bar(at + 0.4 * i - 0.2, heights, 0.36, color=MODALITY_COLOURS[modality.name.lower()])
  axes.set_xticks(at, NUCLEOTIDES)
  axes.set(title="Bases", xlabel="base")


def _residues(axes: Axes, everything: SequenceStatistics) -> None:
  counts = everything.letter_counts[MODALITIES.index(Modality.PROTEIN)]
  shares = counts[FIRST_AMINO_ACID : FIRST_AMINO_ACID + len(AMINO_ACID_CODES)] / counts.sum()
  order = [i for i in np.argsort(-shares, kind="stable").tolist() if shares[i] > 0]
  for kind, letters in RESIDUE_CLASSES.items():
    at = [x for x, i in enumerate(order) if AMINO_ACID_CODES[i] in letters]
    if at:
      axes.bar(at, [shares[order[x]] for x in at], 0.78, color=KIND_COLOURS[kind], label=kind)
  axes.set_xticks(range(len(order)), [AMINO_ACID_CODES[i] for i in order], fontsize=8)
  axes.set(title="Residues", xlabel="residue")
  axes.legend(fontsize=8, handlelength=1, ncols=2)


# --- rows ---


def _ridge(axes: Axes, y: int, heights: np.ndarray, edges: np.ndarray, highest: float, colour: str) -> None:
  """A filled curve of steps that stands on the line `y` of an axis that points down."""
  scaled = y - 0.82 * heights / highest
  axes.stairs(scaled, edges, baseline=y, fill=True, color=colour, alpha=0.4, linewidth=0)
  axes.stairs(scaled, edges, baseline=y, color=colour, linewidth=1.1)


def _rows(survey: Survey) -> Figure:
  row_sets = survey.row_sets
  figure = _figure(0.42 * len(row_sets) + 1.3)
  lengths, documents, fill = figure.subplots(1, 3, sharey=True, width_ratios=(1.5, 1, 1))
  shown = np.concatenate([r.statistics.sequences.length for r in row_sets])
  length_edges = _length_edges(int(shown.min(initial=1 << 20)), int(shown.max(initial=1)))
  most = max(int(r.statistics.documents.max()) for r in row_sets)
  document_edges = np.unique(np.round(np.linspace(0, most, min(most, 50) + 1))) + 0.5
  fill_edges = np.linspace(0, 1, 41)
  for y, row_set in enumerate(row_sets):
    found = row_set.statistics
    curves = {}
    for modality in MODALITIES:
      part = found.sequences.only(modality)
      if len(part.length):
        edges = length_edges[modality]
        heights, _ = np.histogram(part.length, edges, weights=part.weight)
        curves[modality] = heights / np.log(edges[1:] / edges[:-1])
    highest = max((c.max() for c in curves.values()), default=1)
    for modality, heights in curves.items():
      _ridge(lengths, y, heights, length_edges[modality], highest, MODALITY_COLOURS[modality.name.lower()])
    heights, _ = np.histogram(found.documents, document_edges, weights=found.weight)
    heights = heights / np.diff(document_edges)
    _ridge(documents, y, heights, document_edges, heights.max(), _NEUTRAL)
    heights, _ = np.histogram(found.fill, fill_edges, weights=found.weight)
    _ridge(fill, y, heights, fill_edges, heights.max(), _NEUTRAL)
    mean = np.average(found.fill, weights=found.weight)
    fill.annotate(f"{mean:.1%}", (0, y), xytext=(3, 2), textcoords="offset points", fontsize=8)
  lengths.set_yticks(np.arange(len(row_sets)) - 0.3, [_clipped(r.name) for r in row_sets])
  lengths.set_ylim(len(row_sets) - 0.9, -1)
  lengths.set(title="Length of a sequence", xscale="log")
  _letter_axis(lengths)
  documents.set(title="Documents in a row", xlabel="documents", xlim=(0, None))
  documents.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
  fill.set(title="Fill, and its mean", xlabel="share that is no padding", xlim=(0, 1.02))
  fill.xaxis.set_major_formatter(ticker.PercentFormatter(1, 0))
  for axes in (lengths, documents, fill):
    axes.grid(axis="x")
  for name, colour in MODALITY_COLOURS.items():
    lengths.fill_between([], [], color=colour, alpha=0.6, label=name)
  _modality_legend(figure, lengths)
  return figure


def _order_columns(survey: Survey) -> list[tuple[str, Mapping[Order, float]]]:
  if survey.row_sets:
    return [(r.name, r.statistics.sequences.orders) for r in survey.row_sets]
  return [(c.name, c.statistics.orders) for c in survey.corpora]


def _orders(survey: Survey) -> Figure:
  columns = _order_columns(survey)
  totals: dict[Order, float] = {}
  for _, orders in columns:
    for order, n in orders.items():
      totals[order] = totals.get(order, 0) + n / sum(orders.values())
  chosen = sorted(totals, key=lambda order: (-round(totals[order], 6), order))[:MAX_ORDERS]
  labels = [_clipped(order_name(order)) for order in chosen]
  shares = np.array([[orders.get(o, 0) / sum(orders.values()) for _, orders in columns] for o in chosen])
  if len(totals) > len(chosen):
    labels.append(f"{len(totals) - len(chosen):,} other orders")
    shares = np.vstack([shares, 1 - shares.sum(axis=0)])
  figure = _figure(0.3 * len(columns) + 0.5 + 0.04 * max(map(len, labels)))
  axes = figure.subplots()
  for x, column in enumerate(shares):
    for y, share in enumerate(column):
      if share > 0:
        tint = {"color": MODALITY_COLOURS["dna"], "alpha": 0.12 + 0.5 * share, "linewidth": 0}
        axes.barh(y, 0.94, left=x - 0.47, height=0.86, **tint)
        axes.annotate(f"{share:.0%}" if share >= 0.005 else "<1%", (x, y), ha="center", va="center", fontsize=8)
  axes.set_xticks(range(len(labels)), labels, rotation=28, ha="left", fontsize=8)
  axes.set_yticks(range(len(columns)), [_clipped(name) for name, _ in columns])
  axes.set(xlim=(-0.5, max(len(labels), 10) - 0.5), ylim=(len(columns) - 0.5, -0.5))
  axes.xaxis.tick_top()
  axes.tick_params(length=0)
  axes.spines[:].set_visible(False)
  return figure
