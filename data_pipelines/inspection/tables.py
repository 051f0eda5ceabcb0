"""The numbers of a survey as tables, neither text nor HTML yet: `text` and `page` show the same ones."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines.inspection import statistics
from data_pipelines.inspection import survey as survey_lib
from data_pipelines.inspection.statistics import Order
from data_pipelines.inspection.survey import Survey

MAX_ORDERS = 8
_MODALITIES = [m.name.lower() for m in Modality]


@dataclasses.dataclass(frozen=True)
class Table:
  """A table; its cells are text of any origin, not to be trusted.

  Attributes:
    header: one text a column.
    rows: one text a cell.
    left_out: rows that are not shown.
  """

  header: tuple[str, ...]
  rows: tuple[tuple[str, ...], ...]
  left_out: int = 0


def _table(header: Sequence[str], rows: Iterable[Sequence[str | int]], most: int | None = None) -> Table:
  cells = tuple(tuple(f"{c:,}" if isinstance(c, int) else c for c in row) for row in rows)
  return Table(tuple(header), cells[:most], len(cells) - len(cells[:most]))


def about(value: float, is_exact: bool) -> str:
  """A count; an estimate is rounded to three digits and marked."""
  return f"{value:,.0f}" if is_exact else f"≈ {float(f'{value:.3g}'):,.0f}"


def short_number(value: float, _: object = None) -> str:
  """1,234,567 as 1.23M; up to 9,999 in full. The second argument is what matplotlib's formatters are given."""
  for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
    if abs(value) >= (1e4 if size == 1e3 else size):
      return f"{value / size:.3g}{unit}"
  return f"{value:,.0f}"


def plural(count: int, one: str) -> str:
  """`1 row`, `2 rows`."""
  return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def order_name(order: Order) -> str:
  """`dna → protein`; a run of one modality as `protein ×3`; `…` where the document begins in another row."""
  words: list[list] = []
  for tag in order:
    word = "…" if tag == statistics.CONTINUED else Modality(tag).name.lower()
    if words and words[-1][0] == word:
      words[-1][1] += 1
    else:
      words.append([word, 1])
  return " → ".join(word if n == 1 else f"{word} ×{n}" for word, n in words)


def overview(survey: Survey) -> dict[str, str]:
  """What it is: words and their values."""
  described = [r.description for r in survey.row_sets]
  made_from = [c.metadata.get("made_from", {}) for c in survey.corpora]
  seeds = [m["config"]["splits"]["seed"] for m in made_from if "seed" in m.get("config", {}).get("splits", {})]
  facts = {
      "vocabulary": f"{tokenizer.vocabulary_hash()[:16]}…, this program's" if described else "",
      "context": _distinct(f"{d['context']:,} tokens" for d in described),
      "seed": _distinct(d["seed"] for d in described if "seed" in d),
      "seed of splits": _distinct(seeds),
      "made by": _distinct(d["created_by"] for d in described if "created_by" in d),
      "made from": plural(len(survey.sources()), "file") if survey.sources() else "",
  }
  if survey.is_sampled:
    parts = [s for p in (*survey.corpora, *survey.row_sets) for s in p.splits.values()]
    read, total = sum(s.read for s in parts), sum(s.total for s in parts)
    facts["sampled"] = (
        f"{read:,} of {total:,} documents and rows were read ({read / total:.2%}), evenly from all shards. Counts with"
        " ≈, quantiles, shares and curves are estimates from these; counts without ≈ are exact."
    )
  return {key: value for key, value in facts.items() if value}


def _distinct(values: Iterable) -> str:
  return ", ".join(dict.fromkeys(map(str, values)))


def _read(split: survey_lib.Split) -> str:
  return "all" if split.is_whole else percent(split.read / split.total)


def percent(share: float) -> str:
  """A share for a table; one that is not zero does not look like it."""
  return "< 0.01%" if 0 < share < 1e-4 else f"{share:.2%}"


# --- documents ---


def documents(survey: Survey) -> Table:
  """Each corpus and split with its documents and letters."""
  rows = []
  for corpus in survey.corpora:
    for name, split in corpus.splits.items():
      letters = [about(split.letters[m], split.is_whole) for m in _MODALITIES]
      total = split.described_letters or about(sum(split.letters.values()), split.is_whole)
      rows.append([corpus.name, name, split.total, total, *letters, _read(split)])
  return _table(["corpus", "split", "documents", "letters", *_MODALITIES, "read"], rows)


_SHOWN_ELSEWHERE = ("made_from", "records", "records_used", "documents", "letters")


def notes(corpus: survey_lib.Corpus) -> Mapping[str, str]:
  """What else the build counted of a corpus: everything in its metadata that is not shown elsewhere."""
  found = {}
  if counts := survey_lib.ledger(corpus):
    found["records"] = f"{counts[0]:,} read = {counts[1]:,} used + {counts[2]:,} rejected"
  for key, value in corpus.metadata.items():
    if key not in _SHOWN_ELSEWHERE and not survey_lib.is_tally(value) and value not in ({}, [], "", None):
      found[key.replace("_", " ")] = _flat(value)
  return found


def _flat(value: Any) -> str:
  """A JSON value in one line."""
  if isinstance(value, dict):
    return ", ".join(f"{k} {_flat(v)}" if not isinstance(v, dict) else f"{k} ({_flat(v)})" for k, v in value.items())
  if isinstance(value, list):
    return ", ".join(map(_flat, value))
  return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def taxa(survey: Survey, most: int) -> Table:
  """Letters by taxon in all corpora together."""
  by_taxon = survey.everything().letters_by_taxon()
  total = sum(letters.sum() for letters in by_taxon.values())
  exact = all(s.is_whole for c in survey.corpora for s in c.splits.values())
  rows = [
      [survey.taxon(taxon), *(about(n, exact) for n in letters), f"{letters.sum() / total:.1%}"]
      for taxon, letters in by_taxon.items()
  ]
  return _table(["taxon", *_MODALITIES, "share"], rows, most)


# --- rows ---


def rows(survey: Survey) -> Table:
  """Each row set and split, from its description."""
  listed = []
  for row_set in survey.row_sets:
    for name, split in row_set.splits.items():
      counts = row_set.description["splits"][name]
      letters = [counts["letters_by_modality"][m] for m in _MODALITIES]
      listed.append([
          row_set.name, name, counts["documents"], counts["rows"], counts["tokens"], *letters, f"{counts['fill']:.1%}",
          _read(split),
      ])
  return _table(["row set", "split", "documents", "rows", "tokens", *_MODALITIES, "fill", "read"], listed)


def packing(survey: Survey) -> Table:
  """How many documents share a row and how full rows are: quantiles over rows."""
  listed = []
  for row_set in survey.row_sets:
    found = row_set.statistics
    per_row = statistics.quantiles(found.documents, found.weight, (0.05, 0.5, 0.95))
    fill = statistics.quantiles(found.fill, found.weight, (0.05, 0.5, 0.95))
    listed.append([row_set.name, *(f"{d:,.0f}" for d in per_row), *(f"{f:.0%}" for f in fill)])
  return _table(["row set", "documents in a row: 5%", "median", "95%", "fill of a row: 5%", "median", "95%"], listed)


def orders(survey: Survey) -> Table:
  """The most frequent orders of modalities in each row set (in each corpus, where there is none); the rest together."""
  columns = [(r.name, r.statistics.sequences.orders) for r in survey.row_sets]
  columns = columns or [(c.name, c.statistics.orders) for c in survey.corpora]
  listed = []
  for name, found in columns:
    total = sum(found.values())
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    listed += [[name, order_name(order), f"{n / total:.1%}"] for order, n in ranked[:MAX_ORDERS]]
    if left := ranked[MAX_ORDERS:]:
      listed.append([name, f"{len(left):,} other orders", f"{sum(n for _, n in left) / total:.1%}"])
  return _table(["row set" if survey.row_sets else "corpus", "modalities of a document", "share"], listed)


# --- both ---


def composition(survey: Survey) -> Table:
  """Lengths, GC and unresolved letters by modality of each corpus and row set."""
  parts = [(c.name, c.statistics) for c in survey.corpora]
  parts += [(r.name, r.statistics.sequences) for r in survey.row_sets]
  listed = []
  for name, found in parts:
    unresolved = statistics.unresolved_share(found)
    for modality in Modality:
      part = found.only(modality)
      if len(part.length):
        lengths = statistics.quantiles(part.length, part.weight, (0, 0.05, 0.5, 0.95, 1))
        known = ~np.isnan(part.gc)
        gc = np.average(part.gc[known], weights=(part.weight * part.length)[known]) if known.any() else None
        shares = unresolved.get(modality.name.lower(), {})
        listed.append([
            name, modality.name.lower(), *(f"{v:,.0f}" for v in lengths), "" if gc is None else f"{gc:.1%}",
            ", ".join(f"{letter} {percent(share)}" for letter, share in shares.items() if share) or "none",
        ])
  return _table(["letters of", "modality", "shortest", "5%", "median", "95%", "longest", "GC", "unresolved"], listed)


def clipped(text: str, most: int = 80) -> str:
  """At most `most` characters of a text."""
  return text if len(text) <= most else text[: most - 1] + "…"


def dropped(survey: Survey, examples: int) -> Table:
  """What was left out and why, with the first few examples."""
  listed = []
  for found in survey.dropped():
    shown = "; ".join(clipped(e) for e in found.examples[:examples])
    listed.append([found.where, found.reason, found.count, found.meaning or "(no module explains this code)", shown])
  return _table(["where", "reason", "times", "meaning", "for example"], listed)


def sources(survey: Survey, most: int) -> Table:
  """The files that it was built from."""
  listed = [[s["source"], s["role"], s["name"], s["bytes"], s["sha256"]] for s in survey.sources()]
  return _table(["source", "role", "file", "bytes", "sha256"], listed, most)
