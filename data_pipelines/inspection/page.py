"""A survey as one self-contained HTML page: no script, no other file, and nothing loaded from anywhere."""

import re
from collections.abc import Iterator, Mapping, Sequence

from bsm_jax.tokenizer import Modality
from data_pipelines.inspection import style, tables
from data_pipelines.inspection.figures import INK, KIND_COLOURS, MODALITY_COLOURS, Drawn
from data_pipelines.inspection.markup import Content, Element, document, element, inline_svg
from data_pipelines.inspection.names import printable
from data_pipelines.inspection.samples import Line, Shown
from data_pipelines.inspection.survey import Survey
from data_pipelines.inspection.tables import Table, plural, short_number

MAX_SOURCES = 200
_NUMBER = re.compile(r"[≈<\d][\d,. %]*|all|")
# The page loads nothing; this forbids it to, whatever a document may hold.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def render(survey: Survey, drawn: Sequence[Drawn]) -> str:
  """The page.

  Args:
    survey: what to show.
    drawn: its figures.
  """
  figures = {figure.name: figure for figure in drawn}
  head = element(
      "head", element("meta", charset="utf-8"), element("title", f"{printable(survey.title)} – corpus inspection"),
      element("meta", name="viewport", content="width=device-width, initial-scale=1"),
      element("meta", http_equiv="Content-Security-Policy", content=_POLICY), element("style", style.sheet()),
  )
  footer = element(
      "footer", "Written by data_pipelines.inspect. The page holds everything it shows: it can be sent on as one file."
  )
  body = element("body", _header(survey), element("main", *_sections(survey, figures)), footer)
  return document(element("html", head, body, lang="en"))


# --- what it is ---


def _header(survey: Survey) -> Element:
  return element(
      "header", element("p", "Corpus inspection", class_="eyebrow"), element("h1", printable(survey.title)),
      _lede(survey), *_track(survey), _tiles(survey), _facts(tables.overview(survey)),
      *(element("p", printable(w), class_="warning") for w in survey.warnings),
  )


def _bold(text: str) -> Element:
  return element("b", text)


def _lede(survey: Survey) -> Element:
  parts: list[Content] = []
  if survey.corpora:
    count = sum(s.total for c in survey.corpora for s in c.splits.values())
    names = ", ".join(printable(c.name) for c in survey.corpora)
    *held, last = (m for m, n in survey.letters().items() if n)
    held = f"{', '.join(held)} and {last}" if held else last
    parts += [_bold(plural(count, "document")), f" of {held} ({names})"]
  if survey.row_sets:
    count = sum(s.total for r in survey.row_sets for s in r.splits.values())
    parts += [", packed into " if parts else "", _bold(plural(count, "row")), " for training"]
    parts.append(f" in {plural(len(survey.row_sets), 'row set')}")
  return element("p", *parts, ".", class_="lede")


def _track(survey: Survey) -> list[Element]:
  letters = survey.letters()
  total = sum(letters.values())
  shares = {m: n / total for m, n in letters.items() if n}
  bars = [element("div", class_=m, style=f"width: {share:.4%}") for m, share in shares.items()]
  keys = [
      element("li", _swatch(m), _bold(m), f" {short_number(letters[m])} letters, {share:.1%}")
      for m, share in shares.items()
  ]
  return [element("div", *bars, class_="track"), element("ul", *keys, class_="key")]


def _swatch(kind: str) -> Element:
  return element("span", class_=f"swatch {kind}")


def _tile(number: str, name: str) -> Element:
  return element("div", _bold(number), element("span", name), class_="tile")


def _tiles(survey: Survey) -> Element:
  counts = [r.description["splits"][s] for r in survey.row_sets for s in r.splits]
  taxa = {int(t) for c in survey.corpora for t in set(c.statistics.taxon.tolist())} - {0}
  tiles = {
      "documents": sum(s.total for c in survey.corpora for s in c.splits.values()),
      "letters": sum(survey.letters().values()),
      "taxa": len(taxa),
      "row sets": len(survey.row_sets),
      "rows": sum(c["rows"] for c in counts),
      "tokens in rows": sum(c["tokens"] for c in counts),
  }
  found = [_tile(short_number(n), name) for name, n in tiles.items() if n]
  if counts:
    room = sum(r.description["context"] * s.total for r in survey.row_sets for s in r.splits.values())
    found.append(_tile(f"{tiles['tokens in rows'] / room:.1%}", "of rows filled"))
  return element("div", *found, class_="tiles")


def _facts(facts: Mapping[str, str]) -> Element:
  pairs = [e for key, value in facts.items() for e in (element("dt", key), element("dd", printable(value)))]
  return element("dl", *pairs)


# --- sections ---


def _sections(survey: Survey, figures: dict[str, Drawn]) -> Iterator[Element]:
  def section(title: str, lede: str, *content: Content) -> Element:
    return element("section", element("h2", title), element("p", lede), *content)

  def figure(name: str) -> Element | None:
    return _figure(figures[name]) if name in figures else None

  if survey.corpora:
    yield section(
        "Documents", "Sequences that belong together, before they are cut to windows and packed.",
        _table(tables.documents(survey)), element("div", *_notes(survey), class_="notes"), figure("lengths"),
    )
  if "taxa" in figures:
    yield section("Taxa", "NCBI taxonomy: who the documents come from.", figure("taxa"))
  yield section(
      "Letters", "What the sequences are made of: bases and residues, without tags and other special tokens.",
      figure("letters"), figure("composition"), _table(tables.composition(survey)),
  )
  if survey.row_sets:
    yield section(
        "Rows", "What training reads: documents, or windows of them, packed into rows of equal length.",
        _table(tables.rows(survey), bar="fill"), figure("rows"), figure("orders"),
    )
  if survey.dropped():
    yield section(
        "Left out, and why", "Every record that was read is in a document, or is counted here.",
        _table(tables.dropped(survey, examples=3), bar="times"),
    )
  if survey.shown_documents or survey.shown_rows:
    yield section("In colour", "Some documents and rows, chosen by the seed: of many kinds before more of one kind.",
                  *_cards(survey))
  if survey.sources():
    yield section("Sources", "The files that it was built from.", _table(tables.sources(survey, MAX_SOURCES)))


def _notes(survey: Survey) -> Iterator[Element]:
  for corpus in survey.corpora:
    if notes := tables.notes(corpus):
      yield element("div", element("h3", printable(corpus.name)), _facts(notes))


def _figure(drawn: Drawn) -> Element:
  caption = element("figcaption", _bold(f"{drawn.title}. "), drawn.caption)
  plot = inline_svg(drawn.svg, drawn.name, f"{drawn.title}. {drawn.caption}", INK)
  return element("figure", caption, element("div", plot, class_="scroll"))


def _table(content: Table, bar: str = "") -> Element:
  """Numbers to the right; a bar behind the numbers of the column `bar`; a first cell that repeats is shown once."""
  columns = list(zip(*content.rows))
  is_number = [all(_NUMBER.fullmatch(c) for c in column) for column in columns]
  header = [element("th", h, **({"class_": "number"} if n else {})) for h, n in zip(content.header, is_number)]
  shares = _shares(columns[content.header.index(bar)]) if bar else []
  rows, before = [], None
  for number, row in enumerate(content.rows):
    cells = []
    for title, numeric, cell in zip(content.header, is_number, row):
      cell = printable(cell)
      attributes = {"class_": "number"} if numeric else {}
      if title == bar:
        attributes = {"class_": "number bar", "style": f"--share: {shares[number]:.1%}"}
      elif title in ("meaning", "for example"):
        attributes = {"class_": "long"}
      elif title == "sha256":
        attributes = {"class_": "code"}
      cells.append(element("td", cell, **attributes))
    if row[0] == before:
      cells[0].set("class", "repeated")
    before = row[0]
    rows.append(element("tr", *cells))
  table = element("table", element("thead", element("tr", *header)), element("tbody", *rows))
  more = element("p", f"and {content.left_out:,} more") if content.left_out else None
  return element("div", table, more, class_="scroll")


def _shares(cells: Sequence[str]) -> list[float]:
  """Lengths of bars: percentages as they are, counts as shares of the largest."""
  values = [float(c.rstrip("%").replace(",", "")) for c in cells]
  most = 100 if cells[0].endswith("%") else max(values)
  return [value / most for value in values]


# --- documents in colour ---


def _cards(survey: Survey) -> Iterator[Element]:
  groups = [
      ("Bases", [k for k in KIND_COLOURS if len(k) == 1]),
      ("Residues", [k for k in KIND_COLOURS if len(k) > 1]),
  ]
  for title, kinds in groups:
    keys = [element("li", _swatch(kind), kind) for kind in kinds]
    yield element("ul", element("li", _bold(title)), *keys, class_="key")
  yield element(
      "p", "Beneath each codon stands its residue, underlined where it is not what the codon alone says (an alternative"
      " start codon, selenocysteine). ¦ is where coding blocks meet; in the bar above, coding blocks are filled, the"
      " line between them is introns and untranslated ends.",
  )
  cards = [_card(shown, survey) for shown in (*survey.shown_documents, *survey.shown_rows)]
  yield element("div", *cards, class_="cards")


def _card(shown: Shown, survey: Survey) -> Element:
  facts = [shown.where, *([survey.taxon(shown.taxon)] if shown.taxon else []), *shown.facts]
  lines = [span for line in shown.lines for span in (*_spans(line), "\n")]
  return element(
      "article", element("h3", printable(shown.title)), element("p", printable(" · ".join(facts))),
      _gene_map(shown) if shown.blocks else None, element("pre", *lines), class_="card",
  )


def _spans(line: Line) -> Iterator[Content]:
  for text, kind in line:
    yield element("span", text, class_=kind) if text.strip() else text


def _gene_map(shown: Shown) -> Element:
  scale = 1000 / shown.length
  blocks = [
      element("rect", x=f"{a * scale:.2f}", y="0", width=f"{max(1, (b - a) * scale):.2f}", height="12", rx="1.5",
              fill=MODALITY_COLOURS[Modality.DNA.name.lower()])
      for a, b in shown.blocks
  ]
  line = element("rect", x="0", y="5.5", width="1000", height="1", fill="currentColor")
  return element("svg", line, *blocks, class_="gene", viewBox="0 0 1000 12", preserveAspectRatio="none",
                 role="img", aria_label=f"{len(shown.blocks)} coding blocks in {shown.length} bases")
