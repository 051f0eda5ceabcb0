"""A comparison as one self-contained HTML page: no script, no other file, and nothing loaded from anywhere."""

import base64
from collections.abc import Sequence
from xml.etree import ElementTree

from etils import epath

from bsm_jax.comparison import tables
from bsm_jax.comparison.figures import Drawn
from bsm_jax.comparison.groups import Group
from bsm_jax.comparison.tables import Table

# The page loads nothing; this forbids it to, whatever a label or a config may hold.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem 1.5rem 4rem; color: #16202a; background: #fff;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0 0 .6rem; font-size: 1.9rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.6rem 0 .4rem; padding-top: .8rem; border-top: 1px solid #dfe5ea; font-size: 1.25rem; }
p { max-width: 52rem; }
p, figcaption, summary { color: #566370; }
.caveat { max-width: none; padding: .5rem .9rem; border-left: 4px solid #d55e00; background: #fdf1ea; color: #16202a; }
figure { margin: 1.2rem 0; }
img { max-width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { margin: .6rem 0; border-collapse: collapse; font-size: .85rem; line-height: 1.35; }
th, td { padding: .28rem .8rem; text-align: left; vertical-align: top; border-bottom: 1px solid #dfe5ea; }
th { color: #566370; font-weight: 500; border-bottom-width: 2px; }
td { overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
"""


def element(tag: str, *content: ElementTree.Element | str, **attributes: str) -> ElementTree.Element:
  """An element, its text before its parts; all text is escaped when written. `class_` is the attribute `class`."""
  made = ElementTree.Element(tag, {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()})
  for item in content:
    if isinstance(item, str):
      made.text = item
    else:
      made.append(item)
  return made


def table_element(table: Table) -> ElementTree.Element:
  """A table, its numbers to the right."""
  head = element("tr", *(element("th", name) for name in table.columns))
  rows = []
  for row in table.rows:
    kinds = ["number" if isinstance(cell, int | float) else "text" for cell in row]
    rows.append(element("tr", *(element("td", tables.cell_text(c), class_=k) for c, k in zip(row, kinds))))
  return element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll")


def _figure(drawn: Drawn) -> ElementTree.Element:
  data = base64.b64encode(epath.Path(drawn.png).read_bytes()).decode()
  image = element("img", src=f"data:image/png;base64,{data}", alt=drawn.title)
  return element("figure", image, element("figcaption", drawn.caption))


def document(title: str, body: Sequence[ElementTree.Element]) -> str:
  """A whole page of these elements, with the style and the policy of all pages."""
  head = element(
      "head", element("meta", charset="utf-8"), element("meta", name="viewport", content="width=device-width"),
      element("meta", http_equiv="Content-Security-Policy", content=_POLICY), element("title", title),
      element("style", _STYLE),
  )  # fmt: skip
  page = element("html", head, element("body", *body), lang="en")
  return "<!DOCTYPE html>\n" + ElementTree.tostring(page, encoding="unicode", method="html") + "\n"


def render(
    groups: Sequence[Group], drawn: Sequence[Drawn], values: Table, differences: Table, caveats: Sequence[str]
) -> str:
  """The page.

  Args:
    groups: what was compared.
    drawn: its figures.
    values, differences: see `bsm_jax.comparison.tables`.
    caveats: what a reader must know first.
  """
  title = " against ".join(group.label for group in groups) if len(groups) > 1 else groups[0].label
  apart, common = tables.settings(groups)
  body = [element("h1", title), *(element("p", caveat, class_="caveat") for caveat in caveats)]
  body += [_figure(figure) for figure in drawn]
  if len(groups) > 1:
    body += [element("h2", "Differences at the end of training"), element("p", tables.ABOUT_DIFFERENCES),
             table_element(differences)]
  body += [element("h2", "Values"), element("p", "Mean and standard deviation over seeds, of the runs that have got"
                                                   " there."), table_element(values)]
  body += [element("h2", "What was trained"), table_element(tables.budgets(groups))]
  if len(groups) > 1:
    body += [element("h2", "Settings that differ"),
             table_element(apart) if apart.rows else element("p", "None: the groups have the same settings.")]
  body += [element("details", element("summary", f"{len(common.rows)} settings that all have in common"),
                    table_element(common))]
  body += [element("h2", "Runs"), table_element(tables.runs(groups))]
  return document(title, body)
