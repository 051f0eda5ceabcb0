"""Near-duplicates share keys, strangers do not; clusters of MMseqs2 are read as it writes them."""

import random
import stat
import sys

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import near_duplicates
from data_pipelines.errors import InputError
from data_pipelines.near_duplicates import NearDuplicateConfig, keys, probability

CONFIG = NearDuplicateConfig()
GOLDEN = [15550612268625437512, 10358945312976722468]
ALPHABETS = {Modality.DNA: "ACGT", Modality.RNA: "ACGT", Modality.PROTEIN: tokenizer.AMINO_ACIDS}


def sequence(rng, modality, length):
  return "".join(rng.choices(ALPHABETS[modality], k=length))


def mutate(rng, letters, identity, modality):
  alphabet = ALPHABETS[modality]
  return "".join(c if rng.random() < identity else rng.choice(alphabet.replace(c, "")) for c in letters)


def keys_of(letters, modality, config=CONFIG):
  return set(keys(tokenizer.encode(letters, modality), modality, config).tolist())


@pytest.fixture
def rng():
  return random.Random(0)


class TestKeys:

  @pytest.mark.parametrize("modality", list(Modality))
  def test_equal_documents_have_equal_keys_in_order(self, rng, modality):
    ids = tokenizer.encode(sequence(rng, modality, 500), modality)
    found = keys(ids, modality, CONFIG)
    assert found.dtype == np.uint64 and len(set(found.tolist())) == CONFIG.bands
    assert found.tolist() == keys(ids.copy(), modality, CONFIG).tolist()

  def test_keys_are_the_same_on_any_machine_and_version(self):
    ids = tokenizer.encode("MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", Modality.PROTEIN)
    found = keys(ids, Modality.PROTEIN, NearDuplicateConfig(bands=2, rows=2))
    assert found.tolist() == GOLDEN, "keys changed: builds of two versions no longer agree; restore them or say so"

  def test_both_strands_of_nucleotides_are_the_same_document(self, rng):
    ids = tokenizer.encode(sequence(rng, Modality.DNA, 3000), Modality.DNA)
    other = tokenizer.reverse_complement(ids)
    assert keys(ids, Modality.DNA, CONFIG).tolist() == keys(other, Modality.DNA, CONFIG).tolist()

  def test_dna_and_rna_of_the_same_letters_are_different_documents(self, rng):
    letters = sequence(rng, Modality.DNA, 500)
    assert not keys_of(letters, Modality.DNA) & keys_of(letters, Modality.RNA)

  @pytest.mark.parametrize("modality", list(Modality))
  def test_strangers_share_no_key(self, rng, modality):
    found = [keys_of(sequence(rng, modality, 400), modality) for _ in range(200)]
    assert len(set.union(*found)) == sum(map(len, found))

  @pytest.mark.parametrize("modality, kmer, identities", [
      (Modality.PROTEIN, CONFIG.protein_kmer, (0.8, 0.9, 0.95)),
      (Modality.DNA, CONFIG.nucleotide_kmer, (0.93, 0.97, 0.99)),
  ])
  def test_pairs_are_found_as_often_as_the_curve_says(self, rng, modality, kmer, identities):
    for identity in identities:
      pairs = []
      for _ in range(200):
        letters = sequence(rng, modality, 400)
        other = mutate(rng, letters, identity, modality)
        pairs.append(bool(keys_of(letters, modality) & keys_of(other, modality)))
      assert np.mean(pairs) == pytest.approx(probability(identity, kmer, CONFIG), abs=0.11)

  def test_the_curve_rises_from_none_to_all(self):
    curve = [probability(i / 100, CONFIG.protein_kmer, CONFIG) for i in range(50, 101)]
    assert curve == sorted(curve) and curve[0] < 0.001 and curve[-1] == 1

  @pytest.mark.parametrize("modality, length", [(Modality.PROTEIN, 4), (Modality.DNA, 13), (Modality.DNA, 0)])
  def test_documents_without_a_kmer_have_no_key(self, rng, modality, length):
    assert keys_of(sequence(rng, modality, length), modality) == set()

  def test_letters_that_say_nothing_give_no_key(self):
    assert keys_of("N" * 200, Modality.DNA) == set()
    assert keys_of("X" * 200, Modality.PROTEIN) == set()

  @hypothesis.given(st.integers(5, 40), st.integers(0, 2**32))
  def test_short_documents_have_all_keys(self, length, seed):
    letters = sequence(random.Random(seed), Modality.PROTEIN, length)
    assert len(keys_of(letters, Modality.PROTEIN)) == CONFIG.bands

  def test_a_document_with_a_letter_more_is_found(self, rng):
    letters = sequence(rng, Modality.PROTEIN, 60)
    found = [
        bool(keys_of(letters, Modality.PROTEIN) & keys_of(letters[:i] + "W" + letters[i:], Modality.PROTEIN))
        for i in range(60)
    ]
    assert np.mean(found) > 0.95

  @pytest.mark.parametrize("bad", [{"protein_kmer": 13}, {"nucleotide_kmer": 33}, {"bands": 0}, {"rows": 0}])
  def test_a_config_that_means_nothing_is_refused(self, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
      NearDuplicateConfig(**bad)


# Stands in for MMseqs2: records of equal letters are a cluster, represented by the first.
STAND_IN = """#!{python}
import sys
command, fasta, prefix, tmp, *options = sys.argv[1:]
assert command == "easy-linclust" and options == ["--min-seq-id", "0.9", "-c", "0.8"], sys.argv
names = []
with open(fasta) as lines:
  records = [block.split("\\n", 1) for block in lines.read().split(">")[1:]]
first = {{}}
with open(prefix + "_cluster.tsv", "w") as out:
  for name, letters in reversed(records[::-1]):
    print(first.setdefault(letters, name), name, sep="\\t", file=out)
{then}
"""


class TestMmseqs:

  @pytest.fixture
  def sequences(self, tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_text(">sp|P1|A_B one\nMKTAYIAK\n>x\nMKKKK\n>x\nMKTAY\nIAK\n>y\nMKKKK\n")
    return path

  def stand_in(self, tmp_path, then=""):
    program = tmp_path / "mmseqs"
    program.write_text(STAND_IN.format(python=sys.executable, then=then))
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return str(program)

  def clusters(self, sequences, tmp_path, binary):
    return near_duplicates.mmseqs_clusters(sequences, tmp_path / "work", 0.9, 0.8, binary)

  def test_every_record_has_its_representative_whatever_the_names(self, sequences, tmp_path):
    assert self.clusters(sequences, tmp_path, self.stand_in(tmp_path)).tolist() == [0, 1, 0, 1]

  def test_a_missing_program_is_named(self, sequences, tmp_path):
    with pytest.raises(InputError, match="no-such-mmseqs: no such program. Install MMseqs2"):
      self.clusters(sequences, tmp_path, "no-such-mmseqs")

  def test_a_failing_program_is_quoted(self, sequences, tmp_path):
    program = self.stand_in(tmp_path, "print('Input is broken', file=sys.stderr); sys.exit(3)")
    with pytest.raises(InputError, match="failed with exit code 3, and said: Input is broken. Run it by hand"):
      self.clusters(sequences, tmp_path, program)

  def test_a_record_without_a_cluster_is_named(self, sequences, tmp_path):
    program = self.stand_in(tmp_path, "open(prefix + '_cluster.tsv', 'w').write('0\\t0\\n1\\t1\\n')")
    with pytest.raises(InputError, match="record 3: names no cluster of 2 of 4 records"):
      self.clusters(sequences, tmp_path, program)

  @pytest.mark.parametrize("line", ["0\\tP1", "0\\t4"])
  def test_a_table_of_other_records_is_refused(self, sequences, tmp_path, line):
    program = self.stand_in(tmp_path, f"open(prefix + '_cluster.tsv', 'w').write('{line}\\n')")
    with pytest.raises(InputError, match="line 1: '0' and .* are no two of the 4 records"):
      self.clusters(sequences, tmp_path, program)
