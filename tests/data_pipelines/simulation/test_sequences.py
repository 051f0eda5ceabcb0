"""The chains, substitutions and codons that simulated genomes are made of."""

import numpy as np
from Bio.Data import CodonTable

from data_pipelines.simulation import sequences


def test_codon_tables_translate_as_ncbi_says():
  for table in (1, 4, 11):
    probabilities = sequences.codon_probabilities("Escherichia coli K-12", table)
    codes = CodonTable.unambiguous_dna_by_id[table]
    for codon, column in zip(sequences.CODONS, probabilities.T):
      [residue] = np.flatnonzero(column)
      assert (sequences.AMINO_ACIDS + "*")[residue] == codes.forward_table.get(codon, "*")


def test_markov_chain_keeps_the_composition_and_has_order_to_learn():
  rng = np.random.default_rng(0)
  frequencies = np.array([0.5, 0.3, 0.2])
  model = sequences.markov_model(rng, frequencies, order=2, strength=1.0)
  chains = sequences.markov_chains(rng, model, 400, 300)
  np.testing.assert_allclose(np.bincount(chains.reshape(-1)) / chains.size, frequencies, atol=0.01)
  contexts = chains[:, :-2].astype(int) * 3 + chains[:, 1:-1]
  for context in range(9):
    after = chains[:, 2:][contexts == context]
    np.testing.assert_allclose(np.bincount(after, minlength=3) / len(after), model[context], atol=0.02)
  assert np.abs(model - frequencies).max() > 0.1


def test_substitution_keeps_the_composition_and_stays_within_groups():
  rng = np.random.default_rng(0)
  percent = np.array(list(sequences.COMPOSITION.values()))
  before = rng.choice(20, 200_000, p=percent / percent.sum())
  after = sequences.substitute(rng, before, np.ones(len(before)), 0.3)
  np.testing.assert_allclose(np.bincount(after) / len(after), percent / percent.sum(), atol=0.003)
  assert abs(np.mean(before != after) - 0.3) < 0.01
  isoleucine, valine, aspartate = (sequences.AMINO_ACIDS.index(a) for a in "IVD")
  from_isoleucine = np.bincount(after[before == isoleucine])
  assert from_isoleucine[valine] > 3 * from_isoleucine[aspartate] > 0
