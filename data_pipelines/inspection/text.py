"""A survey as text for the terminal, with ANSI colours where they are wanted."""

import os
import re
from collections.abc import Iterator
from typing import TextIO

import numpy as np

from data_pipelines.inspection import tables
from data_pipelines.inspection.names import printable
from data_pipelines.inspection.samples import Line, Shown
from data_pipelines.inspection.survey import Survey
from data_pipelines.inspection.tables import Table
from data_pipelines.report import table

MAX_TAXA = 20
MAX_SOURCES = 20
_MAP = 64  # characters of the map of a gene
_NUMBER = re.compile(r"[≈\d][\d,. %]*|")
# Select Graphic Rendition (ECMA-48): 3x is a colour, 1 bold, 2 faint, 4 underlined, 7 inverse.
_ANSI = {
    "a": "32", "c": "34", "g": "33", "t": "31", "n": "2", "small": "33", "hydrophobic": "32", "polar": "35",
    "negative": "31", "positive": "34", "other": "2", "tag": "1;36", "special": "2", "note": "2", "label": "2",
    "intron": "7", "odd": "4", "heading": "1",
}


def wants_colour(stream: TextIO) -> bool:
  """Whether a stream is a terminal that shows colours and nobody asked for none (https://no-color.org)."""
  return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def render(survey: Survey, *, colour: bool) -> str:
  """The whole survey.

  Args:
    survey: what to show.
    colour: with ANSI escape sequences.
  """
  sections = (f"{_painted(head, 'heading', colour)}\n\n{content}" for head, content in _sections(survey, colour))
  return "\n\n\n".join(sections) + "\n"


def _sections(survey: Survey, colour: bool) -> Iterator[tuple[str, str]]:
  facts = [f"{key:<16}{printable(value)}" for key, value in tables.overview(survey).items()]
  yield printable(survey.title), "\n".join([*facts, *(f"warning: {printable(w)}" for w in survey.warnings)])
  if survey.corpora:
    notes = [f"{printable(c.name)}: {k}: {printable(v)}" for c in survey.corpora for k, v in tables.notes(c).items()]
    yield "Documents", "\n".join([_table(tables.documents(survey)), "", *notes])
    yield "Letters by taxon", _table(tables.taxa(survey, MAX_TAXA))
  if survey.row_sets:
    yield "Rows", f"{_table(tables.rows(survey))}\n\n{_table(tables.packing(survey))}"
  yield "Orders of modalities", _table(tables.orders(survey))
  yield "Lengths and composition", _table(tables.composition(survey))
  if survey.dropped():
    yield "Left out, and why", _table(tables.dropped(survey, examples=1))
  if survey.shown_documents or survey.shown_rows:
    shown = [_shown(s, survey, colour) for s in (*survey.shown_documents, *survey.shown_rows)]
    yield "A few documents and rows", "\n\n".join(shown)
  if survey.sources():
    yield "Sources", _table(tables.sources(survey, MAX_SOURCES))


def _table(content: Table) -> str:
  """Numbers to the right, all else to the left."""
  columns = []
  for head, *cells in zip(content.header, *content.rows):
    cells = [printable(c) for c in cells]
    if all(_NUMBER.fullmatch(c) for c in cells):
      width = max(map(len, (head, *cells)))
      head, cells = head.rjust(width), [c.rjust(width) for c in cells]
    columns.append([head, *cells])
  header, *rows = zip(*columns)
  return table(header, rows) + (f"\nand {content.left_out:,} more" if content.left_out else "")


# --- documents in colour ---


def _painted(text: str, kind: str, colour: bool) -> str:
  codes = ";".join(_ANSI[k] for k in kind.split())
  return f"\x1b[{codes}m{text}\x1b[0m" if colour and text.strip() else text


def _line(line: Line, colour: bool) -> str:
  return "".join(_painted(text, kind, colour) for text, kind in line).rstrip()


def _shown(shown: Shown, survey: Survey, colour: bool) -> str:
  facts = [shown.where, *([survey.taxon(shown.taxon)] if shown.taxon else []), *shown.facts]
  lines = [_painted(printable(shown.title), "heading", colour), printable("; ".join(facts))]
  if shown.blocks:
    lines.append(_painted("gene".ljust(9), "label", colour) + gene_map(shown.length, shown.blocks, _MAP))
  return "\n".join([*lines, *(_line(line, colour) for line in shown.lines)])


def gene_map(length: int, blocks: tuple[tuple[int, int], ...], width: int) -> str:
  """A gene in `width` characters: `█` where at least half of the bases are coding, `▌` some of them, `─` none."""
  coding = np.zeros(length, bool)
  for start, end in blocks:
    coding[start:end] = True
  edges = np.arange(width + 1) * length // width
  shares = [coding[a : max(b, a + 1)].mean() for a, b in zip(edges, edges[1:])]
  return "".join("█" if s >= 0.5 else "▌" if s else "─" for s in shares)
