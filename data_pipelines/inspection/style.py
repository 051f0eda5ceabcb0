"""The style sheet of the page: one for light, dark and paper."""

from data_pipelines.inspection.figures import KIND_COLOURS, MODALITY_COLOURS

_SHEET = """
:root {
  color-scheme: light dark;
  --bg: #ffffff; --panel: #f5f7f9; --ink: #16202a; --soft: #566370; --line: #dfe5ea; --accent: #00639c;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --bg: #11161b; --panel: #191f26; --ink: #e4e9ee; --soft: #9aa7b4; --line: #2b343e; --accent: #6bb8ea;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.5 var(--sans);
  -webkit-print-color-adjust: exact; print-color-adjust: exact;
}
header, main, footer { max-width: 74rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 2.5rem; }
.eyebrow { margin: 0; color: var(--soft); font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; }
h1 { margin: .1rem 0 .4rem; font-size: 2.3rem; line-height: 1.15; letter-spacing: -.02em; overflow-wrap: anywhere; }
.lede { margin: 0 0 1.4rem; max-width: 46rem; font-size: 1.1rem; color: var(--soft); }
.lede b { color: var(--ink); font-weight: 600; }
h2 {
  margin: 3rem 0 .3rem; padding-top: .9rem; border-top: 1px solid var(--line); font-size: 1.3rem;
  letter-spacing: -.01em;
}
h2 + p { margin-top: 0; max-width: 46rem; color: var(--soft); }
h3 { margin: 1.6rem 0 .2rem; font-size: 1rem; }
.track { display: flex; height: 1.5rem; border-radius: .3rem; overflow: hidden; gap: 2px; }
.track > div { min-width: 2px; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; margin: .5rem 0 1.4rem; padding: 0; list-style: none; }
.key li { white-space: nowrap; }
.swatch { display: inline-block; width: .75em; height: .75em; margin-right: .45em; border-radius: .15em; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 0 0 1.4rem; }
.tile { flex: 1 1 8rem; padding: .8rem 1rem; background: var(--panel); border-radius: .5rem; }
.tile b { display: block; font-size: 1.55rem; line-height: 1.25; letter-spacing: -.02em; font-weight: 650; }
.tile span { color: var(--soft); font-size: .85rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 0; font-size: .9rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.warning {
  margin: 1rem 0; padding: .6rem 1rem; border-left: 4px solid #d55e00; background: rgba(213, 94, 0, .1);
  border-radius: .2rem;
}
figure { margin: 1.4rem 0; }
figcaption { margin-bottom: .4rem; max-width: 46rem; color: var(--soft); font-size: .9rem; }
figcaption b { color: var(--ink); }
.scroll { overflow-x: auto; }
svg.plot { display: block; width: 100%; min-width: 42rem; height: auto; stroke-linejoin: round; }
svg.plot text { font-family: var(--sans) !important; }
table { width: 100%; margin: .8rem 0; border-collapse: collapse; font-size: .85rem; line-height: 1.35; }
th, td { padding: .3rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; white-space: nowrap; border-bottom-width: 2px; }
th:first-child, td:first-child { padding-left: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.repeated { color: transparent; }
.bar {
  min-width: 6rem;
  background: linear-gradient(to right, rgba(0, 114, 178, .28) var(--share), transparent var(--share)) 0 .3rem / 100%
    1.35em no-repeat;
}
.long { overflow-wrap: anywhere; min-width: 14rem; }
.code { font-family: var(--mono); font-size: .74rem; overflow-wrap: anywhere; }
.notes { display: flex; flex-wrap: wrap; gap: 0 4rem; }
.cards { columns: 33rem; column-gap: 1rem; }
.card {
  margin: 0 0 1rem; padding: .8rem 1rem; break-inside: avoid; border: 1px solid var(--line); border-radius: .5rem;
}
.card h3 { margin: 0; font: 600 .85rem/1.4 var(--mono); overflow-wrap: anywhere; }
.card p { margin: .1rem 0 .5rem; color: var(--soft); font-size: .8rem; overflow-wrap: anywhere; }
.gene { display: block; width: 100%; height: 12px; margin-bottom: .5rem; color: var(--soft); }
pre { margin: 0; overflow-x: auto; font: 11.5px/1.55 var(--mono); }
pre .label, pre .note, pre .special { color: var(--soft); }
pre .note { font-style: italic; }
pre .tag { color: var(--accent); font-weight: 700; }
pre .intron { color: #d55e00; font-weight: 700; }
pre .odd { text-decoration: underline; text-decoration-thickness: 2px; text-underline-offset: 2px; }
footer { margin-top: 3rem; padding-bottom: 3rem; color: var(--soft); font-size: .85rem; }
@media print {
  body { font-size: 10.5px; }
  header, main, footer { max-width: none; padding: 0; }
  h2 { margin-top: 1.4rem; }
  h2, h2 + p, figcaption { break-after: avoid; }
  figure, .card, .tile, tr { break-inside: avoid; }
  .scroll { overflow: visible; }
  svg.plot { min-width: 0; }
  .cards { columns: 2; }
  pre { font-size: 7px; overflow: visible; }
  @page { margin: 14mm; }
}
"""


def _tint(colour: str, alpha: float) -> str:
  red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
  return f"rgba({red}, {green}, {blue}, {alpha})"


def sheet() -> str:
  """The style sheet; letters are tinted rather than coloured, so that they keep the contrast of text."""
  letters = [f"pre .{kind}, .swatch.{kind} {{ background: {_tint(c, 0.36)}; }}" for kind, c in KIND_COLOURS.items()]
  modalities = [f".{name} {{ background: {colour}; }}" for name, colour in MODALITY_COLOURS.items()]
  return "\n".join([_SHEET, *letters, *modalities])
