"""Text, figures and page: that they hold everything, and that nothing in a document can act."""

import dataclasses
import html.parser
import io
import re
from xml.etree import ElementTree

import pytest

from data_pipelines.inspection import figures, layout, markup, page, tables, text
from data_pipelines.inspection import survey as survey_lib
from tests.data_pipelines.inspection.sample_build import HOSTILE


class TestText:

  def test_every_part_is_there(self, survey):
    shown = text.render(survey, colour=False)
    for part in ("Documents", "Letters by taxon", "Rows", "Orders of modalities", "Left out, and why", "0" * 64,
                 "dna → protein", "7 read = 3 used + 4 rejected", "unknown 2", "data_pipelines.build 1.0.0"):
      assert part in shown
    assert shown.isprintable() is False and all(c.isprintable() or c == "\n" for c in shown)

  def test_colours_are_there_only_where_they_are_wanted(self, survey):
    coloured = text.render(survey, colour=True)
    assert "\x1b[32m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == text.render(survey, colour=False)
    assert "\x1b[31m" not in text.render(dataclasses.replace(survey, shown_rows=(), shown_documents=()), colour=True)

  def test_a_terminal_gets_colours_unless_nobody_wants_them(self, monkeypatch):
    class Terminal(io.StringIO):
      def isatty(self):
        return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert text.wants_colour(Terminal()) and not text.wants_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not text.wants_colour(Terminal())
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert not text.wants_colour(Terminal())

  def test_the_map_of_a_gene_shows_even_the_smallest_block(self):
    assert text.gene_map(100, ((0, 25), (50, 51)), 8) == "██──▌───"
    assert text.gene_map(3, ((0, 3),), 8) == "████████"

  def test_numbers_are_written_for_people(self):
    assert [tables.short_number(n) for n in (0, 999, 9_999, 12_345, 1_234_567, 2.2e11)] == [
        "0", "999", "9,999", "12.3k", "1.23M", "220G"]
    assert (tables.about(1234567, True), tables.about(1234567, False)) == ("1,234,567", "≈ 1,230,000")
    assert (tables.percent(0), tables.percent(1e-6), tables.percent(0.125)) == ("0.00%", "< 0.01%", "12.50%")
    assert tables.order_name((0, 7, 7, 5)) == "… → protein ×2 → dna"


class TestFigures:

  def test_every_figure_is_a_png_and_an_svg(self, drawn):
    assert [d.name for d in drawn] == ["letters", "taxa", "lengths", "composition", "rows", "orders"]
    for figure in drawn:
      assert figure.png.startswith(b"\x89PNG") and ElementTree.fromstring(figure.svg).tag.endswith("svg")

  def test_the_same_survey_gives_the_same_bytes(self, survey, drawn):
    assert figures.draw_all(survey) == drawn

  def test_names_may_hold_anything(self, survey):
    corpora = [dataclasses.replace(c, name=HOSTILE) for c in survey.corpora]
    row_sets = [dataclasses.replace(r, name="$\\frac{$") for r in survey.row_sets]
    assert len(figures.draw_all(dataclasses.replace(survey, corpora=corpora, row_sets=row_sets))) == 6

  @pytest.mark.parametrize("part", ["rows/single", "documents/web_interleaved", "documents/refseq_pairs"])
  def test_a_part_alone_has_the_figures_that_it_has_numbers_for(self, built, part):
    found = survey_lib.survey(layout.find(built / part), survey_lib.Options())
    assert {"letters", "composition"} <= {d.name for d in figures.draw_all(found)}
    assert text.render(found, colour=False)


class Tags(html.parser.HTMLParser):
  """Start tags of a page and the text outside of them."""

  def __init__(self, content):
    super().__init__()
    self.tags, self.text = [], []
    self.feed(content)

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))

  def handle_data(self, data):
    self.text.append(data)


@pytest.fixture(scope="module")
def parsed(survey, drawn):
  return Tags(page.render(survey, drawn))


class TestPage:

  def test_nothing_in_a_document_becomes_markup(self, parsed):
    active = {"script", "img", "a", "link", "iframe", "object", "embed", "form", "image", "foreignobject"}
    assert not {tag for tag, _ in parsed.tags} & active
    assert "<script>alert(1)</script>" in "".join(parsed.text)
    assert "\x1b" not in "".join(parsed.text) and "\u202e" not in "".join(parsed.text)

  def test_it_loads_nothing(self, parsed):
    for tag, attributes in parsed.tags:
      for name, value in attributes.items():
        assert not name.startswith("on"), (tag, name)
        assert name not in ("src", "srcset", "data", "action") and (name != "href" or value.startswith("#"))
        assert "url(" not in value or "url(#" in value
    policy = [a["content"] for t, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert "@import" not in "".join(parsed.text) and "url(" not in "".join(parsed.text)

  def test_it_holds_every_figure_in_the_colour_of_its_text(self, parsed, drawn):
    plots = [a for t, a in parsed.tags if t == "svg" and a.get("class") == "plot"]
    by_name = {d.name: d for d in drawn}
    order = ["lengths", "taxa", "letters", "composition", "rows", "orders"]
    assert [a["aria-label"].split(".")[0] for a in plots] == [by_name[n].title for n in order]
    assert not any(figures.INK in str(a) for t, a in parsed.tags if t != "style")
    assert any("currentColor" in a.get("style", "") for _, a in parsed.tags)

  def test_ids_are_unique_and_references_find_theirs(self, parsed):
    found = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(set(found)) == len(found)
    wanted = [a["href"][1:] for _, a in parsed.tags if "href" in a]
    wanted += re.findall(r"url\(#([^)]+)\)", " ".join(v for _, a in parsed.tags for v in a.values()))
    assert wanted and set(wanted) <= set(found)

  def test_it_is_made_for_light_dark_and_paper(self, parsed):
    style = "".join(parsed.text)
    assert "@media screen and (prefers-color-scheme: dark)" in style and "@media print" in style

  def test_text_is_escaped_wherever_it_stands(self):
    made = markup.element("p", "a<b", markup.element("b", "&"), ">c", None, title='">&', class_="k")
    assert markup.document(made).strip().splitlines()[1] == (
        '<p title="&quot;&gt;&amp;" class="k">a&lt;b<b>&amp;</b>&gt;c</p>')
