"""The web-interleaved corpus: what is kept of a document, where it stood, and what is measured on labelled pages."""

import gzip
import json
import random
import re
import string
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsm_jax.tokenizer import Modality, encode
from data_pipelines.formats.fineweb import WebDocument
from data_pipelines.genes import Reject
from data_pipelines.web import language
from data_pipelines.web_interleaved import REASONS, WebConfig, WebSequences, document, extract
from tests.data_pipelines.web_texts import CONFIG, check_places, dna, found, groups, numbered, protein, rna, wrap

D, E, F = dna(30), dna(31, 1), dna(29, 2)
P = protein(80)
WORDS = """
we found that the most common answer was given by people who had read the text before lunch and then slept for an hour
or two after which nothing else could be shown although several later studies tried hard with larger groups in spring
many children like to draw small green houses near water while their parents watch old films about trains and ships
""".split()


def _page(text: str, **fields) -> WebDocument:
  return WebDocument(id="<urn:uuid:1>", url="http://example.org/page", text=text, **fields)


def test_a_document_with_three_sequences_is_kept_in_order_of_appearance():
  kept = document(_page(f"First 5'-{E}-3', then the protein {P}, then the RNA {rna(24)} and {D}."), CONFIG)
  assert isinstance(kept, WebSequences)
  assert (kept.id, kept.url) == ("<urn:uuid:1>", "http://example.org/page")
  assert [(s.modality, s.letters) for s in kept.sequences] == [
      (Modality.DNA, E), (Modality.PROTEIN, P), (Modality.RNA, rna(24)), (Modality.DNA, D)
  ]  # fmt: skip


def test_a_document_with_two_sequences_is_left_out():
  left_out = document(_page(f"The primers were {D} and {E}."), CONFIG)
  assert left_out == Reject("too_few_sequences", "<urn:uuid:1>", "2 of 3")
  assert isinstance(document(_page(f"The primers were {D} and {E}."), WebConfig(min_sequences=2)), WebSequences)


def test_a_document_without_anything_like_a_sequence_is_left_out():
  assert document(_page("Nothing but prose here."), CONFIG) == Reject("no_candidates", "<urn:uuid:1>")
  assert document(_page("ALL IN CAPITALS, WITHOUT EXCEPTION"), CONFIG).code == "too_few_sequences"


def test_a_sequence_that_comes_again_counts_once_however_it_is_written():
  text = f"{D} and 5'-{D.lower()}-3' and\n>again\n{D}\n"
  assert found(text) == [("dna", D)]
  assert document(_page(text), CONFIG).code == "too_few_sequences"
  assert [r.code for r in extract(text, CONFIG).rejected] == ["repeat", "repeat"]


def test_a_wrapped_protein_is_one_sequence_and_not_three():
  assert document(_page(f">p\n{wrap(protein(170), 60)}\n"), CONFIG).code == "too_few_sequences"


def test_every_document_becomes_sequences_or_a_reject_with_a_known_reason():
  texts = ["", " ", "word", f"{D} {E}", f"{D}, {E}, {F}", f">a\n{D}\n" * 3, "\x00\ud7ff\U0001f9ec", "A" * 5000]
  outcomes = [document(_page(text), CONFIG) for text in texts]
  kept = [o for o in outcomes if isinstance(o, WebSequences)]
  rejects = [o for o in outcomes if isinstance(o, Reject)]
  assert len(kept) + len(rejects) == len(texts)
  assert {reject.code for reject in rejects} <= REASONS.keys()
  assert len(kept) == 1


@pytest.mark.parametrize("setting", [{"min_sequences": 0}, {"min_nucleotides": 1}, {"bits_near": -1.0}])
def test_a_config_that_makes_no_sense_is_refused(setting):
  with pytest.raises(ValueError, match="WebConfig"):
    WebConfig(**setting)


def test_thresholds_are_settings():
  assert found("ACGTTGC and ACGTTGCA") == [("dna", "ACGTTGCA")]
  longer = WebConfig(min_nucleotides=9)
  assert extract("ACGTTGC and ACGTTGCA", longer).sequences == ()


def test_letters_can_be_encoded():
  text = f"{D}NNNN{E} and GTGYCAGCMGCCGCGGTAA, {rna(20)}; the protein {P} and {P[:40]}XXUBZ{P[9:]}"
  sequences = extract(text, CONFIG).sequences
  assert len(sequences) == 5
  for sequence in sequences:
    assert encode(sequence.letters, sequence.modality).shape == (len(sequence.letters),)


def test_residues_score_as_protein_and_words_do_not():
  for word in ("REPLACEMENT", "DIFFERENTIAL", "GRATEFUL", "LIGHTNESS", "FRESHWATER", "THEREISNOSECRET"):
    assert language.protein_score([word]) < CONFIG.bits_framed, word
  for seed in range(50):
    assert language.protein_score([protein(20, seed)]) > CONFIG.bits_bare, seed


# Layouts in which a random sequence is planted: text, and whether lower case is the layout's way to write.
_LAYOUTS = {
    "marks": lambda s: f"with the primer 5'-{s}-3' as before",
    "prose": lambda s: f"the sequence {s}, which",
    "brackets": lambda s: f"the sequence ({s}) was",
    "fasta": lambda s: f"\n>name of it\n{wrap(s, 60)}\n\n",
    "groups": lambda s: f"\nORIGIN\n{numbered(s.lower())}\n//\n",
    "literal": lambda s: f'seq = "{s}"',
    "cell": lambda s: f"\n| sequence |\n|---|\n| {s} |\n\n",
    "tab": lambda s: f"\nname\tsequence\nx\t{s}\n\n",
    "html": lambda s: f"<td>sequence</td><td>{s}</td>",
    "html emphasis": lambda s: f"the sequence <b>{s[:6]}</b>{s[6:]}.",
    "json": lambda s: '{"sequence": "' + s + '"}',
    "tens": lambda s: f"the sequence: {groups(s)} (SEQ ID NO: 1)",
    "lines": lambda s: f"the sequence:\n\n{wrap(s, 60)}\n\n",
}
_nucleotides = st.text("ACGT", min_size=24, max_size=200).filter(lambda s: len(set(s)) == 4)
_residues = st.lists(st.sampled_from("AARNDCQEEGGHIILLKKMFPSSTTWYVV"), min_size=30, max_size=200).map("".join)
_prose = st.lists(st.sampled_from(WORDS), min_size=3, max_size=40).map(" ".join)


@pytest.mark.parametrize("layout", _LAYOUTS)
@given(letters=_nucleotides, rna_letters=st.booleans(), before=_prose, after=_prose)
@settings(max_examples=15)
def test_nucleotides_planted_in_prose_are_found_letter_for_letter(layout, letters, rna_letters, before, after):
  letters = letters.replace("T", "U") if rna_letters else letters
  text = f"{before} {_LAYOUTS[layout](letters)} {after}"
  extraction = extract(text, CONFIG)
  assert [(s.modality, s.letters) for s in extraction.sequences] == [
      (Modality.RNA if rna_letters else Modality.DNA, letters)
  ]
  check_places(text, extraction)


@pytest.mark.parametrize("layout", sorted(set(_LAYOUTS) - {"html emphasis", "marks"}))
@given(letters=_residues, before=_prose, after=_prose)
@settings(max_examples=15)
def test_residues_planted_in_prose_are_found_letter_for_letter(layout, letters, before, after):
  if len(set(letters)) < 8 or not set(letters) & set("EFILPQ") or re.search(r"(.)\1\1\1", letters):
    return  # Poor letters are rejected on purpose.
  text = f"{before} {_LAYOUTS[layout](letters)} {after}"
  extraction = extract(text, CONFIG)
  assert [(s.modality, s.letters) for s in extraction.sequences] == [(Modality.PROTEIN, letters)]
  check_places(text, extraction)


@given(text=_prose, case=st.sampled_from([str.lower, str.upper, str.title, str.swapcase]))
def test_prose_in_any_case_gives_nothing(text, case):
  assert extract(case(text), CONFIG).sequences == ()


_SIGNS = st.sampled_from([
    "ACGT", "acgtn", "MKV", "RYSWKM", "5'-", "-3'", ">", ">a\n", "\n", "\n\n", " ", "  ", "\t", "|", "-", "--", "...",
    "*", "**", "<b>", "</b>", '"', "'", '" + "', "(", ")", "[", "]", "^", "1 ", " 60", "/", "\\n", "&gt;", "\u00a0",
    "\u200b", "Met-Lys-", "Ala", "SEQRES   1 A   21  GLY ILE", "#=GC x ", " 2 8\n", "Query  1  ", "@r\n", "+\n", "T",
    "ORIGIN\n", "//\n", "the peptide ", "SEQ ID NO: 1", "U", "word", "é", "序", "\U0001f9ec", "\r\n", "_", "=", ":",
    '/translation="',
])  # fmt: skip


@given(st.lists(st.one_of(_SIGNS, st.text(string.printable, max_size=4)), max_size=80).map("".join))
@settings(max_examples=300)
def test_extraction_never_fails_and_its_places_are_right_on_any_text(text):
  extraction = extract(text, CONFIG)
  check_places(text, extraction)
  assert {rejected.code for rejected in extraction.rejected} <= REASONS.keys()
  assert extract(text, CONFIG) == extraction


_LONG = {
    "one letter": lambda n: "A" * n,
    "one residue": lambda n: "M" * n,
    "codons": lambda n: "ATG " * (n // 4),
    "single letters": lambda n: "A C " * (n // 4),
    "hyphens": lambda n: "ACGT-" * (n // 5),
    "groups of residues": lambda n: groups(protein(n)),
    "lines": lambda n: wrap(dna(n), 60),
    "headers": lambda n: ">a\n" * (n // 3),
    "marks": lambda n: "5'-ACGTACGTTA-3' " * (n // 17),
    "cells": lambda n: "ACGTACGTAC\t" * (n // 11),
    "literals": lambda n: "'ACGTACGTAC', " * (n // 14),
    "rows": lambda n: "x1  ACG--TACGTTACGA\n" * (n // 20),
    "counts": lambda n: " 3 9\n" * (n // 5),
    "residue names": lambda n: "Met-Lys-" * (n // 8),
    "blanks": lambda n: "ACGTACGT" + " " * n + "ACGTACGT",
    "dots": lambda n: "ACGTACGT" + "." * n + "ACGTACGT",
}


@pytest.mark.parametrize("name", _LONG)
def test_work_grows_with_the_text_and_not_with_its_square(name):
  """Counted in calls of Python functions, which is no clock: four times the text, about four times the calls."""
  calls = []
  for length in (8_000, 32_000):
    text = _LONG[name](length)
    extract(text[:200], CONFIG)  # What is made once is made.
    calls.append(_calls(text))
  assert calls[1] < 6 * calls[0] + 2000


def _calls(text: str) -> int:
  count = 0

  def tracer(frame, event, argument):
    nonlocal count
    count += 1

  sys.setprofile(tracer)
  try:
    extract(text, CONFIG)
  finally:
    sys.setprofile(None)
  return count


def test_one_letter_two_million_times_is_no_sequence_and_no_hang():
  assert extract("A" * 2_000_000, CONFIG).sequences == ()


def _pages(shared_data, name: str) -> list[dict]:
  with gzip.open(shared_data / "documents" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
    return [json.loads(line) for line in file]


def test_labelled_pages_are_found_with_high_precision_and_recall(shared_data):
  right = wrong = missed = 0
  for page in _pages(shared_data, "labelled_positives"):
    labels = {(s["type"], s["seq"]) for s in page["sequences"]}
    neither = [re.sub("[^A-Z]", "", s.upper()) for s in page["ambiguous"]]
    got = {(kind, letters) for kind, letters in found(page["text"]) if letters not in neither}
    right, wrong, missed = right + len(got & labels), wrong + len(got - labels), missed + len(labels - got)
  assert right + missed > 100
  assert right / (right + wrong) >= 0.95
  assert right / (right + missed) >= 0.95


def test_pages_without_sequences_are_left_out_and_pages_with_three_are_kept(shared_data):
  pages = [_page(page["text"]) for page in _pages(shared_data, "negatives")]
  assert sum(isinstance(document(page, CONFIG), WebSequences) for page in pages) * 200 < len(pages)
  pages = [_page(page["text"]) for page in _pages(shared_data, "positives")]
  # Some hold one or two sequences only, wrapped over several lines.
  assert sum(isinstance(document(page, CONFIG), WebSequences) for page in pages) > 0.9 * len(pages)


def test_random_order_of_candidates_changes_nothing():
  entries = [f"5'-{dna(20 + i, i)}-3'" for i in range(8)]
  random.Random(0).shuffle(entries)
  assert [letters for _, letters in found(", ".join(entries))] == [entry[3:-3] for entry in entries]
