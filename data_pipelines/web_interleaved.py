"""Documents of several biological sequences out of web text (FineWeb-Edu): the web-interleaved corpus.

A document's sequences are found, typed and kept in order of appearance; its prose is dropped. The corpus takes the
documents that hold three or more (arXiv 2410.11499). `extract` works in three steps:

1. Finders look for layouts: file formats (`web/blocks.py`), alignments (`web/alignments.py`), and words of nucleotides
   or residues in running text with the pieces that belong to them (`web/runs.py`).
2. The judge decides by the letters (`web/judge.py`), and where these do not suffice by what the surroundings say
   (`web/cues.py`).
3. What only lacked evidence is looked at again: a fragment of a sequence that was found (k-mers, digests), or an entry
   in a list whose other entries are sequences.

Every candidate becomes a sequence or is rejected with a reason, and so does every document. All steps are linear in the
text; a page that holds nothing like a sequence costs a dozen scans.

How the sequences of a document are counted: each once. A primer that a page names five times is one sequence, and so is
a protein that a page wraps over five lines.
"""

import bisect
import dataclasses

from bsm_jax.tokenizer import Modality
from data_pipelines.formats.fineweb import WebDocument
from data_pipelines.genes import Reject
from data_pipelines.web import alignments, blocks, runs
from data_pipelines.web.candidates import Candidate, Evidence
from data_pipelines.web.config import CANDIDATE_REASONS, DOCUMENT_REASONS, WebConfig
from data_pipelines.web.cues import Context
from data_pipelines.web.judge import OPEN, judge

REASONS: dict[str, str] = {**DOCUMENT_REASONS, **CANDIDATE_REASONS}


@dataclasses.dataclass(frozen=True)
class FoundSequence:
  """A sequence of a document.

  Attributes:
    modality: DNA, RNA or protein.
    letters: upper case, without gaps, marks, numbers and white space; IUPAC codes as written.
    pieces: where the letters stand in the text, (start, end) each, in the order of the sequence. Joined, upper-cased,
      they are `letters` (for three-letter residues: their one-letter form).
    how: the layout: `fasta`, `numbered`, `translation`, `fastq`, `sam`, `alignment`, `seqres`, `three_letter`,
      `single_letters`, `groups` (codons and the like), `text`, or `among_codes` (text beside meaningless capitals).
    evidence: how much it took to believe in it: `bare`, `near`, `framed` or `declared` (see `WebConfig`).
  """

  modality: Modality
  letters: str
  pieces: tuple[tuple[int, int], ...]
  how: str
  evidence: str

  @property
  def start(self) -> int:
    return self.pieces[0][0]

  @property
  def end(self) -> int:
    return self.pieces[-1][1]


@dataclasses.dataclass(frozen=True)
class RejectedCandidate:
  """Letters that looked like a sequence and are none. `code` is one of `CANDIDATE_REASONS`; `text` their beginning."""

  code: str
  start: int
  end: int
  text: str


@dataclasses.dataclass(frozen=True)
class Extraction:
  """What a text holds: its distinct sequences in order of first appearance, and what was taken for none."""

  sequences: tuple[FoundSequence, ...]
  rejected: tuple[RejectedCandidate, ...]


@dataclasses.dataclass(frozen=True)
class WebSequences:
  """A document of the corpus.

  Attributes:
    id, url: of the web document.
    sequences: at least `config.min_sequences`, distinct, in order of first appearance.
    rejected: the candidates that were left out.
  """

  id: str
  url: str
  sequences: tuple[FoundSequence, ...]
  rejected: tuple[RejectedCandidate, ...]


_SHOWN = 40  # Letters of a rejected candidate that are kept for the report.


def extract(text: str, config: WebConfig) -> Extraction:
  """Finds the biological sequences of a text.

  Args:
    text: a document, any length.
    config: thresholds.

  Returns:
    The distinct sequences in order of first appearance, and every rejected candidate with its reason. A sequence that
    comes again is rejected as `repeat`: a second copy teaches a model to copy, and the paper counts sequences.
  """
  seeds = runs.seeds(text)
  if not seeds and not blocks.has_layout(text):
    return Extraction((), ())
  candidates = _candidates(text, seeds, config)
  context = Context(text, config)
  verdicts = [_verdict(candidate, context, config) for candidate in candidates]
  _second_look(text, candidates, verdicts, config)
  seen: set[tuple[Modality, str]] = set()
  sequences, rejected = [], []
  for candidate, (evidence, verdict) in zip(candidates, verdicts):
    letters = candidate.letters.upper().rstrip("*")
    if isinstance(verdict, Modality) and (verdict, letters) not in seen:
      seen.add((verdict, letters))
      sequences.append(FoundSequence(verdict, letters, candidate.pieces, candidate.how, evidence.name.lower()))
    else:
      code = "repeat" if isinstance(verdict, Modality) else verdict
      rejected.append(RejectedCandidate(code, candidate.start, candidate.end, candidate.letters[:_SHOWN]))
  return Extraction(tuple(sequences), tuple(rejected))


def document(web_document: WebDocument, config: WebConfig) -> WebSequences | Reject:
  """The document's sequences, or why it is left out (`DOCUMENT_REASONS`)."""
  found = extract(web_document.text, config)
  if len(found.sequences) >= config.min_sequences:
    return WebSequences(web_document.id, web_document.url, found.sequences, found.rejected)
  if not found.sequences and not found.rejected:
    return Reject("no_candidates", web_document.id)
  return Reject("too_few_sequences", web_document.id, f"{len(found.sequences)} of {config.min_sequences}")


def _candidates(text: str, seeds: list[runs.Seed], config: WebConfig) -> list[Candidate]:
  """All candidates in order; where two finders take the same text, the earlier finder's layout says more."""
  taken: list[tuple[int, int]] = []  # Sorted, disjoint.
  candidates: list[Candidate] = []
  for finder in (blocks.find(text, three_letter=config.three_letter), alignments.find(text)):
    for candidate, start, end in finder:
      at = bisect.bisect_right(taken, (start, end))
      free = (not at or taken[at - 1][1] <= start) and (at == len(taken) or end <= taken[at][0])
      if free:
        if end > start:
          taken.insert(at, (start, end))
        if candidate:
          candidates.append(candidate)
  candidates += runs.find(text, seeds, taken, config)
  return sorted(candidates, key=lambda candidate: candidate.start)


def _verdict(candidate: Candidate, context: Context, config: WebConfig) -> tuple[Evidence, Modality | str]:
  """The judge's verdict and the evidence it rests on; the surroundings are asked only where letters do not suffice."""
  evidence = Evidence.BARE if candidate.evidence is None else candidate.evidence
  verdict = judge(candidate, evidence, config)
  if candidate.code or candidate.evidence is not None or verdict not in OPEN:
    return evidence, verdict
  evidence = context.evidence(candidate.start, candidate.end, nucleotides=bool(candidate.nucleotides))
  return evidence, judge(candidate, evidence, config)


_LIST_GAP = 40  # Characters between two entries of a list.


def _second_look(
    text: str, candidates: list[Candidate], verdicts: list[tuple[Evidence, Modality | str]], config: WebConfig
) -> None:
  """Judges again, as framed, what lacked evidence only; changes `verdicts` in place.

  A candidate is lifted if its letters are part of a protein that was found, or if a neighbour in the same list or
  column is a protein: at most `_LIST_GAP` characters away with no more than two words between, or behind the same six
  characters (`MSP:`, `<td>`).
  """
  proteins = [c for c, (_, verdict) in zip(candidates, verdicts) if verdict == Modality.PROTEIN]
  if not proteins:
    return
  letters = "\n".join(c.letters.upper() for c in proteins)
  tags = {_tag(text, c) for c in proteins} - {""}
  order = range(len(candidates))
  for indices in (order, reversed(order)):
    neighbour: Candidate | None = None
    for i in indices:
      candidate, (evidence, verdict) = candidates[i], verdicts[i]
      weak = verdict in OPEN and not candidate.code and candidate.nucleotides is False
      if weak and evidence < Evidence.FRAMED:
        again = judge(candidate, Evidence.FRAMED, config)
        if isinstance(again, Modality) and (
            (neighbour and _in_list(text, neighbour, candidate))
            or _tag(text, candidate) in tags
            or candidate.letters in letters
        ):
          verdicts[i] = Evidence.FRAMED, again
      if verdicts[i][1] == Modality.PROTEIN:
        neighbour = candidate


def _tag(text: str, candidate: Candidate) -> str:
  """The six characters before a candidate, if they mark a field."""
  tag = text[max(0, candidate.start - 6) : candidate.start]
  return tag if tag[-1:] in (":", "=", ">", "|", "\t") and any(map(str.isalnum, tag)) else ""


def _in_list(text: str, a: Candidate, b: Candidate) -> bool:
  first, second = (a, b) if a.start < b.start else (b, a)
  between = text[first.end : min(second.start, first.end + _LIST_GAP + 1)]
  return len(between) <= _LIST_GAP and "\n\n" not in between and sum(w.isalpha() for w in between.split()) <= 2
