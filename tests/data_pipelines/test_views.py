"""Views: what a row set shows of a gene or a sequence, and that its modalities say the same."""

import collections
import dataclasses
import random

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from bsm_jax import tokenizer
from bsm_jax.tokenizer import BOS, EOS, Modality
from data_pipelines import genetic_code, views
from data_pipelines.report import Tally
from data_pipelines.row_sets import PairRowSet, RowSetError, SingleRowSet, max_codons, parse_row_set

DNA, RNA, PROTEIN = Modality.DNA, Modality.RNA, Modality.PROTEIN
BASES = "ACGT"


def random_bases(rng, length):
  return "".join(rng.choices(BASES, k=length))


def make_gene(rng, codons=100, introns=3, table=1, utr=20, **changes):
  """A random gene of `codons` sense codons and a stop; introns stand anywhere, also inside codons."""
  every = [a + b + c for a in BASES for b in BASES for c in BASES]
  sense = [codon for codon in every if genetic_code.translate(codon, table) != "*"]
  stop = next(c for c in ("TAA", "TAG", "TGA") if genetic_code.translate(c, table) == "*")
  cds = "".join(rng.choices(sense, k=codons)) + stop
  cuts = sorted(rng.sample(range(1, len(cds)), introns))
  dna, blocks = random_bases(rng, utr), []
  for start, end in zip([0, *cuts], [*cuts, len(cds)]):
    blocks.append((len(dna), len(dna) + end - start))
    dna += cds[start:end] + (random_bases(rng, rng.randint(1, 60)) if end < len(cds) else random_bases(rng, utr))
  rna = dna[:utr] + cds + dna[len(dna) - utr :]
  fields = {
      "id": f"gene{rng.random()}", "taxon": 1, "dna": tokenizer.encode(dna, DNA),
      "cds_blocks": np.array(blocks, np.int32), "genomic": True, "rna": tokenizer.encode(rna, RNA),
      "rna_cds": (utr, utr + len(cds)), "rna_source": "exons",
      "protein": tokenizer.encode(genetic_code.translate(cds, table)[:-1], PROTEIN),
  }
  return views.Gene(**fields | changes)


def show(gene, context=512, name="rows", tally=None, partner=None, **row_set):
  """The documents of a gene, each a dict from modality to text, in the document's order."""
  row_set = PairRowSet(corpus="refseq_pairs", **row_set)
  documents = views.gene_documents(gene, row_set, name, context, Tally() if tally is None else tally, partner)
  return [parts_of(document) for document in documents]


def parts_of(document):
  return {m: tokenizer.decode(ids).upper() if len(ids) else "" for m, ids in tokenizer.split_document(document)}


@pytest.fixture
def rng():
  return random.Random(0)


@pytest.fixture
def gene(rng):
  return make_gene(rng)


class TestWindows:

  @hypothesis.given(st.integers(0, 2**32), st.sampled_from([1, 4, 11, 2]), st.integers(0, 6), st.integers(3, 200))
  def test_every_window_translates_to_its_protein(self, seed, table, introns, codons):
    gene = make_gene(random.Random(seed), codons, introns, table)
    documents = show(gene, codons=(2, 30), views=3)
    assert documents
    for parts in documents:
      nucleotides = [parts[m] for m in (DNA, RNA) if m in parts]
      assert len(set(nucleotides)) == 1
      if PROTEIN in parts:
        assert genetic_code.translate(nucleotides[0], table).removesuffix("*") == parts[PROTEIN]

  @hypothesis.given(st.integers(0, 2**32), st.integers(0, 6))
  def test_genomic_windows_hold_the_same_codons_and_their_introns(self, seed, introns):
    gene = make_gene(random.Random(seed), 100, introns)
    whole = tokenizer.decode(gene.dna).upper()
    for parts in show(gene, codons=(10, 30), dna="genomic", modalities=("dna", "protein"), views=2):
      start = whole.find(parts[DNA])
      end = start + len(parts[DNA])
      spliced = "".join(whole[max(a, start) : min(b, end)] for a, b in gene.cds_blocks if a < end and b > start)
      assert genetic_code.translate(spliced).removesuffix("*") == parts[PROTEIN]
      assert any(a <= start < b for a, b in gene.cds_blocks) and any(a < end <= b for a, b in gene.cds_blocks)

  @hypothesis.given(st.integers(0, 2**32), st.integers(32, 80))
  def test_no_window_is_longer_than_the_context(self, seed, context):
    rng = random.Random(seed)
    for dna in ("spliced", "genomic"):
      row_set = parse_row_set("r", {"corpus": "refseq_pairs", "codons": (1, 40), "dna": dna}, context)
      documents = list(views.gene_documents(make_gene(rng), row_set, "r", context, Tally()))
      assert documents and max(map(len, documents)) <= context

  def test_a_genomic_window_shrinks_to_fit_and_is_dropped_below_the_least_length(self, rng):
    gene = make_gene(rng, codons=60, introns=0)
    intron = tokenizer.encode("GT" + "C" * 400 + "AG", DNA)
    at = int(gene.cds_blocks[0, 0]) + 90
    blocks = np.array([[at - 90, at], [at + len(intron), gene.cds_blocks[0, 1] + len(intron)]], np.int32)
    changes = {"dna": np.concatenate([gene.dna[:at], intron, gene.dna[at:]]), "cds_blocks": blocks}
    gene, tally = dataclasses.replace(gene, **changes), Tally()
    documents = show(
        gene, 256, codons=(20, 20), dna="genomic", modalities=("dna", "protein"), windows_per_gene=50, tally=tally
    )
    assert tally.counts["intron_exceeds_context"] + len(documents) == 50
    assert 0 < len(documents) < 50
    assert all(len(parts[PROTEIN]) == 20 and len(parts[DNA]) in (60, 63) for parts in documents)

  def test_lengths_are_drawn_from_the_whole_range(self, rng):
    genes = [make_gene(rng) for _ in range(20)]
    shown = [parts for gene in genes for parts in show(gene, codons=(10, 30), modalities=("protein",))]
    assert {len(parts[PROTEIN]) for parts in shown} == set(range(10, 31))

  def test_log_uniform_lengths_are_mostly_short(self, rng):
    drawn = {
        how: [len(parts[PROTEIN]) for _ in range(20)
              for parts in show(make_gene(rng), codons=(2, 64), modalities=("protein",), length_distribution=how)]
        for how in ("uniform", "log_uniform")
    }
    assert min(drawn["log_uniform"]) == 2 and max(drawn["log_uniform"]) <= 64
    assert np.median(drawn["log_uniform"]) < 16 < np.median(drawn["uniform"])

  def test_starts_are_spread_over_the_gene(self, rng):
    gene = make_gene(rng, codons=50, introns=0)
    protein = tokenizer.decode(gene.protein)
    documents = show(gene, codons=(10, 10), modalities=("protein",), windows_per_gene=800)
    assert {protein.find(parts[PROTEIN]) for parts in documents} == set(range(41))

  def test_a_gene_shorter_than_the_least_length_is_shown_whole(self, rng):
    gene = make_gene(rng, codons=7)
    (parts,) = show(gene, codons=(10, 30), modalities=("dna", "protein"))
    assert parts[PROTEIN] == tokenizer.decode(gene.protein)
    assert len(parts[DNA]) == 24

  def test_only_the_window_at_the_end_of_the_gene_has_the_stop_codon(self, rng):
    gene = make_gene(rng, codons=12)
    documents = show(gene, codons=(10, 10), windows_per_gene=60, modalities=("dna", "rna", "protein"))
    protein = tokenizer.decode(gene.protein)
    seen = set()
    for parts in documents:
      is_last = protein.endswith(parts[PROTEIN])
      assert len(parts[DNA]) == len(parts[RNA]) == (33 if is_last else 30)
      seen.add(is_last)
    assert seen == {True, False}

  @pytest.mark.parametrize("lost", [1, 2])
  def test_a_last_codon_that_is_cut_off_still_has_its_residue(self, rng, lost):
    gene = make_gene(rng, codons=12, introns=0, utr=0)
    cds = gene.dna[: 36 - lost]
    changes = {"dna": cds, "rna": cds, "cds_blocks": np.array([[0, len(cds)]], np.int32), "rna_cds": (0, len(cds))}
    (parts,) = show(dataclasses.replace(gene, **changes), codons=(12, 12), modalities=("dna", "protein"))
    assert (len(parts[DNA]), len(parts[PROTEIN])) == (36 - lost, 12)

  def test_coverage_says_how_many_windows_there_are(self, gene):
    assert [len(show(gene, codons=(10, 10), coverage=c)) for c in (0.05, 1.0, 2.0)] == [1, 10, 20]
    assert len(show(gene, codons=(10, 10), windows_per_gene=3, views=2)) == 6


class TestModalities:

  def test_a_free_view_shows_every_choice_of_two_or_three_in_every_order(self, gene):
    orders = collections.Counter(tuple(parts) for parts in show(gene, codons=(10, 10), windows_per_gene=2000))
    assert len(orders) == 12
    pairs = sum(n for order, n in orders.items() if len(order) == 2)
    assert 900 < pairs < 1100

  def test_named_modalities_stand_in_any_order_where_that_is_asked_for(self, gene):
    settings = {"modalities": ("dna", "protein"), "order": "random", "windows_per_gene": 40}
    shown = [tuple(parts) for parts in show(gene, codons=(10, 30), **settings)]
    assert set(shown) == {(DNA, PROTEIN), (PROTEIN, DNA)} and 5 < shown.count((DNA, PROTEIN)) < 35

  def test_named_modalities_stand_in_their_order(self, gene):
    assert {tuple(parts) for parts in show(gene, codons=(10, 30), modalities=("protein", "dna"))} == {(PROTEIN, DNA)}

  def test_the_same_gene_is_shown_the_same_again_and_otherwise_elsewhere(self, gene):
    first = show(gene, codons=(10, 30))
    assert show(gene, codons=(10, 30)) == first
    others = [show(gene, codons=(10, 30), name="other"), show(gene, codons=(10, 30), seed=1)]
    others.append(show(dataclasses.replace(gene, id="other"), codons=(10, 30)))
    assert all(other != first for other in others)

  def test_views_of_one_gene_differ(self, gene):
    both = show(gene, codons=(10, 30), views=2)
    assert both[: len(both) // 2] != both[len(both) // 2 :]

  def test_rna_that_is_the_cds_is_left_out_on_request(self, rng):
    gene, tally = make_gene(rng, rna_source="cds"), Tally()
    assert any(RNA in parts for parts in show(gene, codons=(10, 30)))
    shown = show(gene, codons=(10, 30), synthetic_rna=False, tally=tally)
    assert {frozenset(parts) for parts in shown} == {frozenset({DNA, PROTEIN})}
    assert tally.as_dict() == {"rna_is_synthetic": {"count": 1, "examples": [gene.id]}}

  def test_a_transcript_without_its_cds_is_left_out_of_windows_and_counted(self, rng):
    gene, tally = make_gene(rng, rna_cds=(-1, -1)), Tally()
    assert all(set(parts) == {DNA, PROTEIN} for parts in show(gene, codons=(10, 30), tally=tally))
    assert show(gene, codons=(10, 30), modalities=("rna", "protein"), tally=tally) == []
    assert tally.counts == {"rna_not_aligned": 2}

  def test_a_transcript_record_is_not_shown_as_genomic_dna(self, rng):
    gene, tally = make_gene(rng, genomic=False), Tally()
    assert all(set(parts) == {RNA, PROTEIN} for parts in show(gene, codons=(10, 30), dna="genomic", tally=tally))
    assert any(DNA in parts for parts in show(gene, codons=(10, 30)))
    assert tally.counts == {"dna_is_transcript": 1}

  def test_a_wrong_partner_gives_the_nucleotides_and_the_protein_stays(self, rng):
    gene, other = make_gene(rng, introns=0), make_gene(rng, introns=0)
    asked = []
    settings = {"codons": (10, 30), "modalities": ("dna", "protein"), "windows_per_gene": 20}
    right = show(gene, **settings)
    wrong = show(gene, **settings, wrong_partner=True, partner=lambda codons: asked.append(codons) or other)
    assert [parts[PROTEIN] for parts in wrong] == [parts[PROTEIN] for parts in right]
    assert asked == [len(parts[PROTEIN]) for parts in wrong]
    foreign = tokenizer.decode(other.dna).upper()
    assert all(parts[DNA] in foreign for parts in wrong)
    assert all(0 <= len(parts[DNA]) - 3 * len(parts[PROTEIN]) <= 3 for parts in wrong)


class TestWholeGenes:

  def test_a_gene_that_fits_is_shown_whole(self, rng):
    gene = make_gene(rng, codons=30)
    cds, dna = tokenizer.decode(gene.cds).upper(), tokenizer.decode(gene.dna).upper()
    (parts,) = show(gene, 4096, modalities=("dna", "rna", "protein"))
    assert parts == {DNA: cds, RNA: tokenizer.decode(gene.rna).upper(), PROTEIN: tokenizer.decode(gene.protein)}
    (parts,) = show(gene, 4096, modalities=("dna", "protein"), dna="genomic")
    assert parts[DNA] == dna

  @pytest.mark.parametrize("dna", ["spliced", "genomic"])
  def test_a_gene_that_does_not_fit_becomes_the_largest_window(self, rng, dna):
    gene = make_gene(rng, codons=200, introns=0)
    for context in (100, 128, 256):
      (document,) = views.gene_documents(
          gene, PairRowSet("refseq_pairs", modalities=("dna", "protein"), dna=dna), "r", context, Tally()
      )
      assert context - 8 < len(document) <= context
      assert (document[0], document[-1]) == (BOS, EOS)
      parts = parts_of(document)
      assert genetic_code.translate(parts[DNA]).removesuffix("*") == parts[PROTEIN]

  def test_concatenated_pieces_are_the_whole_document(self, rng):
    gene = make_gene(rng, codons=200)
    row_set = PairRowSet("refseq_pairs", modalities=("dna", "rna", "protein"), dna="genomic", long="concatenate")
    pieces = list(views.gene_documents(gene, row_set, "r", 256, Tally()))
    whole = tokenizer.join_document([(DNA, gene.dna), (RNA, gene.rna), (PROTEIN, gene.protein)])
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert all(len(piece) == 256 for piece in pieces[:-1])
    assert [BOS in piece for piece in pieces] == [True] + [False] * (len(pieces) - 1)
    assert [EOS in piece for piece in pieces] == [False] * (len(pieces) - 1) + [True]

  def test_a_long_gene_whose_transcript_is_not_aligned_is_counted(self, rng):
    gene, tally = make_gene(rng, codons=200, rna_cds=(-1, -1)), Tally()
    assert show(gene, 256, modalities=("rna", "protein"), tally=tally) == []
    assert tally.counts == {"rna_not_aligned": 1}


class TestRowSets:

  def test_three_modalities_of_k_codons_fit_where_the_formula_says(self):
    assert max_codons((DNA, RNA, PROTEIN), 256) == 34
    assert max_codons((DNA, PROTEIN), 256) == 62

  @pytest.mark.parametrize(("spec", "message"), [
      ({}, "corpus must be one of refseq_pairs, gene_related, single_modal"),
      ({"corpus": "refseq_pairs", "vievs": 2}, "no such key: vievs; it may have corpus, splits"),
      ({"corpus": "single_modal", "codons": (1, 2)}, "no such key: codons"),
      ({"corpus": "refseq_pairs", "codons": (30, 10)}, "codons are (least, most)"),
      ({"corpus": "refseq_pairs", "codons": (80, 90)}, "windows of at least 80 codons in 3 modalities do not fit"),
      ({"corpus": "refseq_pairs", "dna": "cdna"}, "dna must be one of spliced, genomic, not 'cdna'"),
      ({"corpus": "refseq_pairs", "long": "cut"}, "long must be one of window, concatenate"),
      ({"corpus": "single_modal", "strand": "-"}, "strand must be one of random, both, forward"),
      ({"corpus": "single_modal", "splits": ("val",)}, "splits are train, valid, test, not val"),
      ({"corpus": "refseq_pairs", "modalities": ("dna", "DNA")}, "modalities name one modality twice"),
      ({"corpus": "refseq_pairs", "modalities": ("dna", "peptide")}, "unknown modality 'peptide'"),
      ({"corpus": "refseq_pairs", "wrong_partner": True}, "wrong_partner needs codons"),
      ({"corpus": "single_modal", "context": 31}, "a context of 31 tokens is too short: at least 32"),
  ])
  def test_a_row_set_that_cannot_be_is_named(self, spec, message):
    with pytest.raises(RowSetError) as error:
      parse_row_set("mine", {k: v for k, v in spec.items() if k != "context"}, spec.get("context", 256))
    assert "row set mine" in str(error.value) and message in str(error.value)


def stretch(rng, length, modality=DNA, at_start=True, at_end=True):
  letters = rng.choices(BASES if modality != PROTEIN else tokenizer.AMINO_ACIDS, k=length)
  return views.Stretch(f"s{length}", 1, modality, tokenizer.encode("".join(letters), modality), at_start, at_end)


def windows(stretch, context=64, tally=None, **row_set):
  row_set = SingleRowSet("single_modal", **row_set)
  return list(views.stretch_documents(stretch, row_set, "r", context, Tally() if tally is None else tally))


class TestSingleSequences:

  def test_a_sequence_that_fits_is_one_document(self, rng):
    (document,) = windows(stretch(rng, 61, PROTEIN))
    assert (len(document), document[0], document[1], document[-1]) == (64, BOS, PROTEIN, EOS)

  @hypothesis.given(st.integers(16, 700), st.booleans(), st.booleans(), st.integers(0, 2**32))
  def test_windows_hold_every_letter_and_the_marks_stand_at_true_ends_only(self, length, at_start, at_end, seed):
    sequence = stretch(random.Random(seed), length, RNA, at_start, at_end)
    documents = windows(sequence)
    assert all(len(d) <= 64 for d in documents) and all(len(d) == 64 for d in documents[:-1])
    assert [BOS in d for d in documents] == [at_start] + [False] * (len(documents) - 1)
    assert [EOS in d for d in documents] == [False] * (len(documents) - 1) + [at_end]
    letters = [tokenizer.split_document(d)[0][1] for d in documents]
    covered = np.concatenate(letters[:-1]) if len(letters) > 1 else np.zeros(0, np.uint8)
    overlap = len(covered) + len(letters[-1]) - length
    assert 0 <= overlap < 32
    np.testing.assert_array_equal(np.concatenate([covered[: len(covered) - overlap], letters[-1]]), sequence.letters)
    assert len(documents) == 1 or len(documents[-1]) >= 32

  def test_a_stride_makes_windows_overlap(self, rng):
    sequence = stretch(rng, 300, RNA, False, False)
    documents = windows(sequence, stride=20)
    starts = [tokenizer.decode(sequence.letters).find(tokenizer.decode(d[1:])) for d in documents]
    assert starts[:-1] == list(range(0, 20 * len(starts) - 20, 20))
    assert starts[-1] + len(documents[-1]) - 1 == 300

  def test_dna_is_read_on_either_strand_with_its_ends_where_they_are(self, rng):
    sequence = stretch(rng, 6000)
    forward = tokenizer.decode(sequence.letters)
    reverse = tokenizer.decode(tokenizer.reverse_complement(sequence.letters))
    seen = collections.Counter()
    for document in windows(sequence):
      letters = tokenizer.decode(tokenizer.split_document(document)[0][1])
      strand = next(s for s in (forward, reverse) if letters in s)
      assert (BOS in document, EOS in document) == (strand.startswith(letters), strand.endswith(letters))
      seen[strand == forward] += 1
    assert min(seen.values()) > 30

  def test_the_strand_can_be_chosen(self, rng):
    sequence = stretch(rng, 1000)
    forward, both = windows(sequence, strand="forward"), windows(sequence, strand="both")
    assert len(both) == 2 * len(forward)
    assert [d.tobytes() for d in both[::2]] == [d.tobytes() for d in forward]
    first = tokenizer.split_document(both[0])[0][1]
    np.testing.assert_array_equal(tokenizer.split_document(both[1])[0][1], tokenizer.reverse_complement(first))

  @pytest.mark.parametrize("modality", [RNA, PROTEIN])
  def test_rna_and_protein_are_read_forward_only(self, rng, modality):
    sequence = stretch(rng, 1000, modality)
    for strand in ("random", "both"):
      documents = windows(sequence, strand=strand)
      assert all(tokenizer.decode(tokenizer.split_document(d)[0][1]) in tokenizer.decode(sequence.letters)
                 for d in documents)
      assert len(documents) == len(windows(sequence, strand="forward"))

  def test_a_sequence_that_is_too_short_is_counted(self, rng):
    tally = Tally()
    assert windows(stretch(rng, 15), tally=tally) == []
    assert tally.counts == {"too_short": 1}
