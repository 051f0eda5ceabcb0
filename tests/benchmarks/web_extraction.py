"""What the web extraction finds on labelled pages, on pages without sequences, and how fast; run by hand.

  python -m tests.benchmarks.web_extraction --labelled=labelled_positives.jsonl.gz --negatives=negatives.jsonl.gz \\
      --positives=positives.jsonl.gz

Files are JSON lines in FineWeb's layout; labelled pages also have `sequences` (`[{"type": "dna", "seq": "ACGT…"}]`, the
distinct sequences) and `ambiguous` (strings that count neither way, compared by their letters). Printed are precision
and recall a sequence, also by modality and for the two halves of the file, every wrong and missed sequence, documents
kept, and megabytes of text a processor second: of the pages given, of prose without sequences, of random DNA, and of
one letter.
"""

import collections
import json
import random
import time
from collections.abc import Iterable, Sequence

from absl import app, flags

from data_pipelines import report
from data_pipelines.formats import compressed
from data_pipelines.formats.fineweb import WebDocument
from data_pipelines.web_interleaved import WebConfig, WebSequences, document, extract

_PROSE = """
The committee met again in spring to talk about the new reading room. Most members agreed that it should have large
windows, although some of them feared the heat of July and August. A plan was drawn by Ms. Okafor (of the firm "Okafor
& Lindt", founded 1987), whose first sketch had shown a glass roof; see https://example.org/plans?id=42 for details.

    def area(width, height):
        return width * height  # SQUARE METRES

1. The walls are of brick. 2. The floor is of oak. IMPORTANT: visitors must sign the book, and leave bags at the desk.
"""


def _pages(path: str) -> list[dict]:
  with compressed.open_text(path) as file:
    return [json.loads(line) for line in file]


def _letters(text: str) -> str:
  return "".join(filter(str.isalpha, text)).upper()


def _score(pages: Iterable[tuple[int, dict]], config: WebConfig, *, verbose: bool) -> dict[str, collections.Counter]:
  """Right, wrong and missed sequences by modality and in all."""
  counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
  for number, page in pages:
    labels = {(entry["type"], entry["seq"]) for entry in page["sequences"]}
    neither = {_letters(text) for text in page["ambiguous"]}
    sequences = extract(page["text"], config).sequences
    found = {(s.modality.name.lower(), s.letters) for s in sequences if s.letters not in neither}
    for kind, entries in (("right", found & labels), ("wrong", found - labels), ("missed", labels - found)):
      for modality, letters in sorted(entries):
        counts[modality][kind] += 1
        counts["all"][kind] += 1
        if verbose and kind != "right":
          print(f"  {kind} on page {number}: {modality} {letters[:100]}")
  return counts


def _rows(name: str, counts: dict[str, collections.Counter]) -> list[list[str | int]]:
  rows = []
  for modality in sorted(counts):
    c = counts[modality]
    found, labels = c["right"] + c["wrong"], c["right"] + c["missed"]
    precision, recall = (f"{c['right'] / total:.1%}" if total else "-" for total in (found, labels))
    rows.append([f"{name}, {modality}", c["right"], c["wrong"], c["missed"], precision, recall])
  return rows


def _speed(name: str, texts: Sequence[str], config: WebConfig, repeats: int) -> list[str]:
  size = sum(len(text.encode()) for text in texts) / 1e6
  seconds = []
  for _ in range(repeats):
    start = time.process_time()
    for text in texts:
      extract(text, config)
    seconds.append(time.process_time() - start)
  return [name, f"{size:.1f}", f"{size / max(min(seconds), 1e-9):.1f}"]


def _kept(pages: Iterable[dict], config: WebConfig) -> tuple[int, collections.Counter]:
  kept, codes = 0, collections.Counter()
  for page in pages:
    outcome = document(WebDocument(page["id"], page["text"], page.get("url", "")), config)
    if isinstance(outcome, WebSequences):
      kept += 1
    else:
      codes[f"{outcome.code} {outcome.detail}".strip()] += 1
  return kept, codes


def main(_: Sequence[str]) -> None:
  config, values = WebConfig(), flags.FLAGS
  labelled = [page for path in values.labelled for page in _pages(path)]
  if labelled:
    numbered = list(enumerate(labelled))
    rows = _rows("all pages", _score(numbered, config, verbose=True))
    for half, name in ((0, "even pages"), (1, "odd pages")):
      rows += _rows(name, _score(numbered[half::2], config, verbose=False))[:1]
    print(report.table(["sequences", "right", "wrong", "missed", "precision", "recall"], rows), end="\n\n")
  kinds = {"negatives": values.negatives, "positives": values.positives}
  texts: dict[str, list[str]] = {"labelled": [page["text"] for page in labelled]}
  for kind, paths in kinds.items():
    pages = [page for path in paths for page in _pages(path)]
    if pages:
      kept, codes = _kept(pages, config)
      print(f"{kind}: {kept} of {len(pages)} documents kept; left out: {dict(codes)}")
      texts[kind] = [page["text"] for page in pages]
  letters = random.Random(0).choices("ACGT", k=2_000_000)
  texts |= {
      "prose without sequences": [_PROSE * 20] * 100,
      "random DNA in lines of 60": ["\n".join("".join(letters[i : i + 60]) for i in range(0, len(letters), 60))],
      "one letter, 10 MB": ["A" * 10_000_000],
  }
  rows = [_speed(name, entries, config, values.repeats) for name, entries in texts.items() if entries]
  print("\n" + report.table(["text", "MB", "MB a processor second"], rows))


if __name__ == "__main__":
  flags.DEFINE_multi_string("labelled", [], "JSON lines with `sequences` and `ambiguous`; several allowed")
  flags.DEFINE_multi_string("negatives", [], "JSON lines of pages without sequences")
  flags.DEFINE_multi_string("positives", [], "JSON lines of pages with sequences, without labels")
  flags.DEFINE_integer("repeats", 3, "the best of so many runs is the speed", lower_bound=1)
  app.run(main)
