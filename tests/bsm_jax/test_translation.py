import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from bsm_jax import codons, inference, tokenizer
from bsm_jax import model as model_lib
from bsm_jax.evaluation import translation
from bsm_jax.evaluation import translation_report as report
from bsm_jax.tokenizer import Modality
from bsm_jax.training import program as program_lib
from configs.data import diagnostics
from data_pipelines import genetic_code, pack
from data_pipelines.row_sets import parse_row_set
from tests.bsm_jax.sample_models import write_run
from tests.bsm_jax.sample_rows import write_packed

CONTEXT = 128
DNA, PROTEIN = Modality.DNA, Modality.PROTEIN
CODONS = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT"]


def gene(rng, n: int, code: int = 11) -> tuple[str, str]:
  """n random codons, none a stop, and their residues."""
  dna = "".join(rng.choice([c for c in CODONS if not genetic_code.is_stop(c, code)], n))
  return dna, genetic_code.translate(dna, code)


def write(root, name: str, documents, codons_of_windows=(3, 30), context=CONTEXT) -> None:
  """A diagnostic row set of documents, lists of (modality, letters)."""
  tokens = [tokenizer.encode_document(d) for d in documents]
  split = "train" if name.endswith("codon_usage") else "valid"
  write_packed(
      root, f"diagnose_{name}", {split: pack.pack(tokens, context)}, context, row_set={"codons": codons_of_windows}
  )


def knows_the_code(code: int):
  """An `apply` that translates perfectly: residues from codons; nucleotides of a protein's codons all alike."""
  residues = codons.residues(code)
  synonyms = {r: [tokenizer.encode(c, DNA) for c, of in zip(CODONS, residues) if of == r] for r in residues.tolist()}

  def on_host(tokens):
    logits = np.zeros((*tokens.shape, 128), np.float32)
    for i, row in enumerate(np.asarray(tokens)):
      for document in translation.documents(row):
        if list(document) == [DNA, PROTEIN]:
          read = residues[codons.numbers(row[document[DNA]])]
          for at, residue in zip(range(document[PROTEIN].start, document[PROTEIN].stop), read):
            logits[i, at - 1, residue] = 1e4
        elif list(document) == [PROTEIN, DNA]:
          for k, residue in enumerate(row[document[PROTEIN]].tolist()):
            at = document[DNA].start + 3 * k
            for base in range(3):
              left = [c for c in synonyms[residue] if (c[:base] == row[at : at + base]).all()]
              weights = np.bincount([c[base] for c in left], minlength=128)
              logits[i, at + base - 1] = np.log(np.maximum(weights, 1e-30))
    return logits

  def apply(params, tokens, segment_ids, positions):
    del params, segment_ids, positions
    return jax.pure_callback(on_host, jax.ShapeDtypeStruct((*tokens.shape, 128), jnp.float32), tokens)

  return apply


def figures_of(root, code=11) -> dict[tuple[str, str, str], report.Figure]:
  """By (section, group, condition), of all row sets in a folder, for a model that knows a genetic code."""
  score = translation.make_score(knows_the_code(code), {})
  figures = translation.diagnose(score, translation.open_probes(str(root), CONTEXT), batch_size=4)
  return {(f.section, f.group, f.condition): f for f in figures}


# --- codons


@pytest.mark.parametrize("code", codons.GENETIC_CODES)
def test_the_genetic_codes_are_those_of_the_pipelines(code):
  assert [codons.number(c) for c in CODONS] == list(range(64))
  assert tokenizer.decode(codons.residues(code)) == "".join(genetic_code.translate(c, code) for c in CODONS)


def test_an_unknown_genetic_code_is_refused():
  with pytest.raises(ValueError, match="genetic code 6 is not among 1, 4, 11"):
    codons.residues(6)


def test_a_codon_with_n_and_a_codon_cut_off_are_no_codons():
  assert codons.numbers(tokenizer.encode("ACGNCGTT", DNA)).tolist() == [codons.number("ACG"), codons.UNKNOWN]


def test_the_degeneracy_is_log2_of_the_number_of_synonymous_codons():
  bits = {code: codons.degeneracy_bits(code) for code in (4, 11)}
  of = lambda code, codon: bits[code][codons.number(codon)]
  assert [of(11, c) for c in ("ATG", "TTT", "CTG", "TGG")] == [0.0, 1.0, pytest.approx(np.log2(6)), 0.0]
  assert (of(4, "TGG"), of(4, "TGA"), of(4, "TAA")) == (1.0, 1.0, 1.0)


def test_codon_usage_pays_by_how_often_a_codon_was_counted():
  counted = np.array([codons.number("TTT")] * 6 + [codons.UNKNOWN])
  bits = codons.usage_bits(counted, 11)
  assert bits[codons.number("TTT")] == pytest.approx(np.log2(8 / 7))
  assert bits[codons.number("TTC")] == pytest.approx(3.0)
  assert bits[codons.number("GGG")] == pytest.approx(2.0)


# --- what a model that translates gets


def test_perfect_translation_costs_nothing_given_the_dna_and_all_of_the_alphabet_without(tmp_path):
  rng = np.random.default_rng(0)
  genes = [gene(rng, int(rng.integers(3, 25))) for _ in range(20)]
  write(tmp_path, "ecoli_code11_w10_60_protein_given_dna", [[(DNA, d), (PROTEIN, p)] for d, p in genes])
  write(tmp_path, "ecoli_code11_w10_60_protein_alone", [[(PROTEIN, p)] for _, p in genes])
  wrong = [[(DNA, gene(rng, len(p))[0]), (PROTEIN, p)] for _, p in genes]
  write(tmp_path, "ecoli_code11_w10_60_protein_given_wrong_dna", wrong)
  found = figures_of(tmp_path)
  right = found["windows", "w10_60", "protein_given_dna"]
  assert (right.bits, right.error, right.accuracy) == (0.0, 0.0, 1.0)
  assert (right.letters, right.documents) == (sum(len(p) for _, p in genes), 20)
  assert found["windows", "w10_60", "protein_alone"].bits == pytest.approx(7.0)
  wrong = found["windows", "w10_60", "protein_given_wrong_dna"]
  assert wrong.bits > 1000 and wrong.error > 0 and wrong.accuracy < 0.3


def test_dna_of_a_known_protein_costs_the_degeneracy_bound(tmp_path):
  rng = np.random.default_rng(1)
  genes = [gene(rng, 12) for _ in range(10)]
  # The stop codon at the end of a gene belongs to no residue: it is not scored.
  write(tmp_path, "ecoli_code11_w10_60_dna_given_protein", [[(PROTEIN, p), (DNA, d + "TAA")] for d, p in genes])
  write(tmp_path, "ecoli_code11_train_codon_usage", [[(DNA, "CTG" * 10), (PROTEIN, "L" * 10)]])
  found = figures_of(tmp_path)
  given, bound, usage = (found["dna", "w10_60", c] for c in ("dna_given_protein", report.DEGENERACY, report.USAGE))
  n_codons = {r: sum(genetic_code.translate(c, 11) == r for c in CODONS) for r in tokenizer.AMINO_ACIDS}
  assert bound.bits == pytest.approx(np.mean([np.log2(n_codons[r]) / 3 for _, p in genes for r in p]))
  assert given.bits == pytest.approx(bound.bits, abs=1e-5)
  assert given.letters == bound.letters == 10 * 12 * 3
  assert usage.bits != pytest.approx(bound.bits, abs=1e-3)


def test_tga_is_told_apart_from_other_tryptophans_in_code_4(tmp_path):
  dna = "ATGTGATGGAAATGA"
  write(tmp_path, "mmycoides_code4_w3_8_protein_given_dna", [[(DNA, dna), (PROTEIN, "MWWKW")]] * 2)
  found = figures_of(tmp_path, code=11)
  tga, tgg, rest = (found["tryptophan", g, "protein_given_dna"] for g in ("W (TGA)", "W (TGG)", "not W"))
  assert (tga.letters, tgg.letters, rest.letters) == (4, 2, 4)
  assert tga.bits > 1000 and tgg.bits == rest.bits == 0.0
  assert figures_of(tmp_path, code=4)["tryptophan", "W (TGA)", "protein_given_dna"].bits == 0.0


def test_tryptophans_near_the_start_are_those_of_windows_that_go_beyond(tmp_path):
  long, short = "TGG" + "AAA" * 15 + "TGG", "TGGAAATGG"
  documents = [[(DNA, d), (PROTEIN, genetic_code.translate(d, 11))] for d in (long, short)]
  write(tmp_path, "ecoli_code11_w3_8_protein_given_dna", documents)
  found = figures_of(tmp_path)
  assert found["tryptophan", "W (TGG)", "protein_given_dna"].letters == 4
  assert found["tryptophan", "W (TGG) 1-16", "protein_given_dna"].letters == 1


def test_positions_and_lengths_fall_into_their_bins(tmp_path):
  rng = np.random.default_rng(2)
  genes = [gene(rng, n) for n in (3, 8, 9, 20)]
  write(tmp_path, "ecoli_code11_w10_60_protein_alone", [[(PROTEIN, p)] for _, p in genes])
  found = figures_of(tmp_path)
  letters = lambda section: {g: f.letters for (s, g, _), f in found.items() if s == section}
  assert letters("position") == {"1": 4, "2": 4, "3-4": 3 + 4, "5-8": 12, "9-16": 1 + 8, "17-32": 4}
  assert letters("length") == {"1-8": 11, "9-15": 9, "16-30": 20}


def test_only_genes_that_fit_are_looked_at_as_whole_ones(tmp_path):
  rng = np.random.default_rng(3)
  genes = [gene(rng, n) for n in (30, 30, 12)]
  documents = [[(DNA, d), (PROTEIN, p)] for d, p in genes]
  write(tmp_path, "ecoli_code11_whole_protein_given_dna", documents, codons_of_windows=(30, 30))
  found = figures_of(tmp_path)
  assert found["windows", "whole", "protein_given_dna"].letters == 12
  assert not any(section == "length" for section, *_ in found)


def test_windows_with_introns_are_compared_with_the_same_residues_spliced(tmp_path):
  rng = np.random.default_rng(4)
  (dna, protein), (other_dna, other) = gene(rng, 15), gene(rng, 15)
  # The intron makes the genomic window 10 codons of the 15; the other window holds none.
  without = [(DNA, other_dna), (PROTEIN, other)]
  genomic = [(DNA, dna[:6] + "GTAAGTTTTCAG" + dna[6:30]), (PROTEIN, protein[:10])]
  write(tmp_path, "celegans_code1_introns_protein_given_dna", [genomic, without])
  write(tmp_path, "celegans_code1_spliced_protein_given_dna", [[(DNA, dna), (PROTEIN, protein)], without])
  found = figures_of(tmp_path)
  with_intron, spliced = (found["introns", g, "protein_given_dna"] for g in ("introns", "spliced"))
  assert (with_intron.letters, spliced.letters) == (10, 10)
  assert (with_intron.documents, spliced.documents) == (1, 1)
  assert with_intron.bits > 1000 and spliced.bits == 0.0
  assert np.isnan(spliced.error)


def test_spliced_windows_without_the_row_set_that_chooses_them_are_refused(tmp_path):
  write(tmp_path, "celegans_code1_spliced_protein_alone", [[(PROTEIN, "MKV")]])
  with pytest.raises(translation.TranslationError, match="diagnose_celegans_code1_introns_protein_given_dna beside it"):
    figures_of(tmp_path)


# --- errors of the mean


def test_the_error_counts_documents_not_letters():
  # Letters of a document are all alike: 100 documents of 50 letters know no more than 100 letters.
  rng = np.random.default_rng(5)
  of_documents = rng.normal(size=100)
  error = report.bootstrap_error(np.repeat(of_documents, 50), np.repeat(np.arange(100), 50))
  assert error == pytest.approx(of_documents.std() / 10, rel=0.1)


def test_one_document_has_no_error():
  assert np.isnan(report.bootstrap_error(np.ones(5), np.zeros(5, int)))


def test_pooled_windows_stay_apart():
  column = np.zeros(4)
  letters = report.Letters(np.array([0, 0, 1, 1]), column, column, column, column, column, column)
  assert len(np.unique(report.pool([letters, letters]).document)) == 4


# --- names


def test_a_row_set_that_is_not_there_is_refused_with_the_list_of_those_that_are(tmp_path):
  write(tmp_path, "ecoli_code11_w10_60_protein_alone", [[(PROTEIN, "MKV")]])
  with pytest.raises(translation.TranslationError) as error:
    translation.open_probes(str(tmp_path), CONTEXT, ["diagnose_ecoli_code11_w10_90_protein_alone"])
  assert "diagnose_ecoli_code11_w10_90_protein_alone" in str(error.value)
  assert "there are: diagnose_ecoli_code11_w10_60_protein_alone" in str(error.value)


@pytest.mark.parametrize("name", ["ecoli_w10_60_protein_alone", "ecoli_code6_full_protein_alone"])
def test_a_name_that_does_not_say_what_it_is_is_refused(tmp_path, name):
  write(tmp_path, name, [[(PROTEIN, "MKV")]])
  with pytest.raises(translation.TranslationError, match=f"diagnose_{name}.*its code one of 1, 4, 11"):
    translation.open_probes(str(tmp_path), CONTEXT)


def test_a_folder_without_diagnostic_row_sets_says_how_to_build_them(rows_root):
  with pytest.raises(translation.TranslationError, match="found: pairs, single.*configs/data/diagnostics.py"):
    translation.open_probes(str(rows_root), CONTEXT)


@pytest.mark.parametrize("context", [256, 1024])
def test_every_row_set_of_the_config_can_be_built_and_read(context):
  named = diagnostics.row_sets(context)
  for name, spec in named.items():
    row_set = parse_row_set(name, spec, context)
    said = translation._NAME.fullmatch(name)
    assert row_set.splits == (("train",) if said["condition"] == "codon_usage" else ("valid",))
    assert not row_set.like or named[row_set.like].get("like") is None
    of_like = parse_row_set(name, named[row_set.like or name], context)
    same = ("taxa", "codons", "windows_per_gene", "max_documents", "coverage", "seed")
    assert all(getattr(row_set, key) == getattr(of_like, key) for key in same)


# --- the command


def test_checkpoints_of_a_run_are_scored_and_written(small_config, tmp_path):
  zeros = jax.tree.map(jnp.zeros_like, model_lib.init_params(program_lib.model_config(small_config), 0))
  write_run(tmp_path / "3", small_config)
  write_run(tmp_path / "5", small_config, zeros, steps=(5,))
  rng = np.random.default_rng(6)
  documents = [[(DNA, d), (PROTEIN, p)] for d, p in (gene(rng, 6) for _ in range(6))]
  write(tmp_path / "rows", "ecoli_code11_w3_8_protein_given_dna", documents, context=small_config.data.context)
  bits = {}
  for folder in ("3", "5"):
    model = inference.load(str(tmp_path / folder), devices=jax.devices()[:1])
    apply = model_lib.make_apply(model.config, model.ops)
    figures = translation.diagnose(
        translation.make_score(apply, model.params), translation.open_probes(str(tmp_path / "rows"), model.context)
    )
    (windows,) = (f for f in figures if f.section == "windows")
    bits[model.step] = windows.bits
  # A model of zeros finds all tokens of the vocabulary equally likely.
  assert bits == {3: pytest.approx(6.0, abs=1.0), 5: pytest.approx(np.log2(tokenizer.VOCAB_SIZE), abs=1e-4)}
  assert abs(bits[3] - bits[5]) > 1e-3

  written = report.write(figures, epath.Path(tmp_path / "out"), {"step": 5})
  stored = json.loads((tmp_path / "out/figures.json").read_text())
  with open(tmp_path / "out/figures.tsv") as file:
    table = list(csv.DictReader(file, delimiter="\t"))
  assert stored["step"] == 5 and stored["figures"][0]["bits"] == float(table[0]["bits"]) == bits[5]
  assert {"windows.png", "length.png"} <= {path.rsplit("/", 1)[1] for path in written}
  assert f"{bits[5]:.3f}" in report.tables(figures)
