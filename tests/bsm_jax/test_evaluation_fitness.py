"""Zero-shot fitness and perplexity: what is scored, how assays are put together, and what a result says of it."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from bsm_jax import inference
from bsm_jax.evaluation import dms, variants
from bsm_jax.evaluation.dms import Assay, Variant
from bsm_jax.evaluation.tasks import fitness, perplexity
from bsm_jax.evaluation.tasks.task import Settings, TaskError
from bsm_jax.tokenizer import Modality
from tests.bsm_jax.sample_models import random_model
from tests.bsm_jax.sample_rows import CONTEXT, write_row_set

SETTINGS = Settings(resamples=20)
GENE = "ATGAAAGCTTGGTAA"


def assay_of(modality: Modality, *letters: str) -> Assay:
  variants_ = tuple(Variant(text, float(number), None, number) for number, text in enumerate(letters))
  return Assay("x", "x.tsv", modality, letters[:1], variants_, {})


def letters_of(*document) -> tuple[np.ndarray, ...]:
  return inference.likelihoods(random_model(), [document])[0].parts


# --- Scores ---


def test_a_score_is_the_mean_over_the_letters_and_the_sum_if_asked():
  assay = assay_of(Modality.PROTEIN, "MKTAY", "MKWAYLL")
  expected = [letters_of((Modality.PROTEIN, v.letters))[0] for v in assay.variants]
  assert [len(letters) for letters in expected] == [5, 7]
  mean, long = variants.scores(random_model(), assay, "protein")
  np.testing.assert_allclose(mean, [letters.mean() for letters in expected], rtol=1e-6)
  np.testing.assert_allclose(variants.scores(random_model(), assay, "protein", "sum")[0],
                             [letters.sum() for letters in expected], rtol=1e-6)  # fmt: skip
  assert not long.any()


def test_a_variants_score_does_not_depend_on_the_others():
  many = assay_of(Modality.RNA, "ACGUACGU", "ACGU", "GGGUACGUACGUAC", "ACGUUU" * 15, "ACGU")
  together = variants.scores(random_model(), many, "rna")[0]
  for variant, score in zip(many.variants, together):
    assert variants.scores(random_model(), assay_of(Modality.RNA, variant.letters), "rna")[0] == [score]


def test_gene_and_protein_are_shown_together_and_the_inputs_say_which_letters_count():
  assay = assay_of(Modality.DNA, GENE)
  gene, protein = letters_of((Modality.DNA, GENE), (Modality.PROTEIN, "MKAW"))
  of = lambda inputs: variants.scores(random_model(), assay, inputs)[0][0]
  assert of("protein_given_gene") == pytest.approx(protein.mean(), rel=1e-6)
  assert of("gene_and_protein") == pytest.approx(np.concatenate([gene, protein]).mean(), rel=1e-6)
  assert of("gene") == pytest.approx(letters_of((Modality.DNA, GENE))[0].mean(), rel=1e-6)
  assert of("protein") == pytest.approx(letters_of((Modality.PROTEIN, "MKAW"))[0].mean(), rel=1e-6)
  assert len({of(inputs) for inputs in variants.INPUTS if inputs != "rna"}) == 4


@pytest.mark.parametrize("stop", ["", "TAA"])
@pytest.mark.parametrize("codons", [14, 16, 17, 22, 23, 40])
def test_a_pair_beyond_the_context_is_cut_to_windows_of_the_same_codons_that_speak_for_each_once(codons, stop):
  context = 64
  gene = "".join("ACGT"[i % 4] + "CGA"[i % 3] + "GTC"[i // 4 % 3] for i in range(codons)) + stop
  protein = dms.translate(gene)
  shown = variants.show(assay_of(Modality.DNA, gene), gene, "protein_given_gene", context)
  spoken_genes, spoken = "", ""
  for ((_, dna), (_, residues)), first in zip(shown.documents, shown.first):
    assert len(dna) + len(residues) + 4 <= context
    assert dms.translate(dna) == residues
    spoken_genes, spoken = spoken_genes + dna[3 * first :], spoken + residues[first:]
  assert spoken == protein and spoken_genes == gene
  assert (len(shown.documents) > 1) == (codons > 14)


def test_a_pair_in_windows_is_scored_by_each_letters_own_window():
  gene = "ATGAAAGCTTGGCGA" * 4  # 20 codons: windows of 15, the second of which speaks for its last 5
  protein = dms.translate(gene)
  first, second = (letters_of((Modality.DNA, gene[3 * i : 3 * i + 45]), (Modality.PROTEIN, protein[i : i + 15]))
                   for i in (0, 5))  # fmt: skip
  of = lambda inputs: variants.scores(random_model(), assay_of(Modality.DNA, gene), inputs, "sum")
  found, long = of("protein_given_gene")
  assert found[0] == pytest.approx(first[1].sum() + second[1][10:].sum(), rel=1e-6) and long.all()
  both = of("gene_and_protein")[0][0]
  assert both == pytest.approx(found[0] + first[0].sum() + second[0][30:].sum(), rel=1e-6)


def test_an_assay_that_does_not_hold_what_is_to_be_shown_is_an_error():
  with pytest.raises(TaskError, match="holds protein, and 'gene' needs coding sequences"):
    variants.scores(random_model(), assay_of(Modality.PROTEIN, "MK"), "gene")
  with pytest.raises(TaskError, match="holds dna, and 'rna' needs RNA"):
    variants.scores(random_model(), assay_of(Modality.DNA, GENE), "rna")
  with pytest.raises(TaskError, match="x.tsv: a coding sequence consists of whole codons"):
    variants.scores(random_model(), assay_of(Modality.DNA, "ATGA"), "protein")


# --- Benchmarks ---


def reference(*rows: tuple[str, str, str]) -> dict[str, dict[str, str]]:
  of = lambda protein, kind: {"UniProt_ID": protein, "coarse_selection_type": kind, "RNA_TYPE": kind}
  return {name: of(protein, kind) for name, protein, kind in rows}


def test_proteingyms_average_is_over_types_of_proteins_of_assays_rounded_first():
  of = reference(("a", "P1", "Activity"), ("b", "P1", "Activity"), ("c", "P2", "Activity"), ("d", "P1", "Stability"))
  proteins, means = fitness.proteingym_average({"a": 0.1004, "b": 0.3, "c": 0.6, "d": -0.5}, of)
  assert proteins["Activity"] == pytest.approx([0.2, 0.6])
  assert means == pytest.approx({"Activity": 0.4, "Stability": -0.5})


def test_proteingyms_average_leaves_out_what_is_not_defined():
  of = reference(("a", "P1", "Activity"), ("b", "P1", "Activity"))
  assert fitness.proteingym_average({"a": math.nan, "b": 0.3}, of)[1] == {"Activity": 0.3}


def test_rnagyms_average_is_over_categories_and_keeps_the_sign():
  of = reference(("a", "", "Ribozyme"), ("b", "", "Ribozyme"), ("c", "", "tRNA"))
  groups, means = fitness.rnagym_average({"a": -0.4, "b": 0.2, "c": 0.5}, of)
  assert groups == {"Ribozyme": [-0.4, 0.2], "tRNA": [0.5]}
  assert means == pytest.approx({"Ribozyme": -0.1, "tRNA": 0.5})


def write_proteingym(folder, *, assays=2):
  rng = np.random.default_rng(0)
  (folder / "DMS_ProteinGym_substitutions").mkdir()
  lines = ["DMS_id,DMS_filename,UniProt_ID,target_seq,coarse_selection_type"]
  for number in range(assays):
    lines.append(f"A{number},A{number}.csv,P{number},MKTAYIAKQR,{('Activity', 'Binding')[number % 2]}")
    rows = ["mutant,mutated_sequence,DMS_score,DMS_score_bin"]
    for at in range(1, 10):
      score = rng.normal()
      old = "MKTAYIAKQR"[at]
      rows.append(f"{old}{at + 1}W,{'MKTAYIAKQR'[:at]}W{'MKTAYIAKQR'[at + 1 :]},{score},{int(score > 0)}")
    (folder / "DMS_ProteinGym_substitutions" / f"A{number}.csv").write_text("\n".join(rows) + "\n")
  (folder / "DMS_substitutions.csv").write_text("\n".join(lines) + "\n")


PROTEINGYM = fitness.ProteinGym("proteingym", "v1.3", "there", "protein")


def test_proteingym_runs_from_its_files_to_a_result_that_holds_all_it_depends_on(tmp_path):
  write_proteingym(tmp_path)
  found = PROTEINGYM.run(random_model(), str(tmp_path), SETTINGS)
  of = [found.metrics[f"spearman/A{number}"] for number in range(2)]
  assert found.metrics["spearman"] == pytest.approx(np.mean(np.round(of, 3)))
  assay = dms.read_proteingym(str(tmp_path / "DMS_ProteinGym_substitutions" / "A0.csv"), "A0", "MKTAYIAKQR")
  expected = stats.spearmanr(assay.scores, variants.scores(random_model(), assay, "protein")[0])
  assert of[0] == pytest.approx(expected.statistic) and found.metrics["p_value/A0"] == pytest.approx(expected.pvalue)
  assert {"auc", "mcc", "ndcg", "top_recall", "spearman/Activity"} <= found.metrics.keys()
  assert set(found.data) == {"DMS_substitutions.csv", *(f"DMS_ProteinGym_substitutions/A{n}.csv" for n in range(2))}
  assert found.version == "v1.3" and found.counts["variants"] == 18 and found.settings["inputs"] == "protein"
  assert len(found.checkpoint["sha256"]) == 64 and found.parameters > 1000 and found.truncation["share"] == 0.0


def test_a_part_of_a_benchmark_or_a_sample_says_that_it_is_one(tmp_path):
  write_proteingym(tmp_path)
  (tmp_path / "DMS_ProteinGym_substitutions" / "A0.csv").unlink()
  asked = dataclasses.replace(SETTINGS, assays=("A1",), limit=5)
  assert PROTEINGYM.files(str(tmp_path), asked) == ["DMS_substitutions.csv", "DMS_ProteinGym_substitutions/A1.csv"]
  found = PROTEINGYM.run(random_model(), str(tmp_path), asked)
  assert found.counts == {"assays": 1, "variants": 5, "variants not drawn": 4}
  assert any("not the benchmark's figures" in note for note in found.notes)
  assert any("a sample's figures" in note for note in found.notes)
  with pytest.raises(TaskError, match="has no assay B; it has A0, A1"):
    PROTEINGYM.run(random_model(), str(tmp_path), dataclasses.replace(SETTINGS, assays=("B",)))


def test_a_damaged_assay_is_told_before_any_is_scored(tmp_path):
  write_proteingym(tmp_path)
  path = tmp_path / "DMS_ProteinGym_substitutions" / "A1.csv"
  path.write_text(path.read_text().replace("K2W", "K3W"))
  with pytest.raises(dms.AssayError, match="A1.csv, line 2: K3W wants K at 3"):
    PROTEINGYM.run(None, str(tmp_path), SETTINGS)


def test_rnagym_leaves_other_types_and_rows_without_a_score_out_and_counts_them(tmp_path):
  (tmp_path / "assays").mkdir()
  (tmp_path / "reference_sheet_final.csv").write_text("DMS_ID,RNA_TYPE\nR,Ribozyme\nT,tRNA\nC,mRNA-coding\n")
  rows = "mutant,DMS_score,sequence\n,1,ACGUA\nA1C,0.5,CCGUA\nA1G,0.1,GCGUA\nA1U,-1,UCGUA\nC2A,,AAGUA\n"
  for name in "RT":
    (tmp_path / "assays" / f"{name}.csv").write_text(rows)
  found = fitness.RnaGym("rnagym", "v0.1.1", "there", "rna").run(random_model(), str(tmp_path), SETTINGS)
  assert found.metrics["spearman"] == pytest.approx(found.metrics["spearman/R"])
  assert found.counts == {
      "assays": 2, "variants": 6, "the wild type's rows, left out": 2, "rows without a score, left out": 2,
      "assays of other types, excluded": 1,
  }  # fmt: skip


def test_a_panels_figure_is_the_mean_over_its_assays(tmp_path):
  for name, scores in (("a", (1, 2, 3)), ("b", (3, 1, 2))):
    rows = [f"ACGTT\t{mutant}\t{score}" for mutant, score in zip(("CCGTT", "AAGTT", "ACGTA"), scores)]
    (tmp_path / f"{name}.tsv").write_text("wt_seq_nt\tmt_seq_nt\tfitness\n" + "\n".join(rows) + "\n")
  read = lambda name: lambda path, rules: dms.read_evo(path, name, Modality.RNA, rules)
  listed = tuple(fitness.Listed(name, f"{name}.tsv", read(name)) for name in "ab")
  found = fitness.Panel("panel", "1", "there", "rna", assays=listed).run(random_model(), str(tmp_path), SETTINGS)
  assert found.metrics["spearman"] == pytest.approx((found.metrics["spearman/a"] + found.metrics["spearman/b"]) / 2)
  low, high = found.intervals["spearman"]
  assert low <= high


# --- Perplexity ---


def test_perplexity_is_over_the_letters_of_all_sequences_and_no_specials(tmp_path):
  (tmp_path / "p.fasta").write_text(">a\nMKTAY\n>b\n" + "MKWAYLLR" * 12 + "\n")  # the second exceeds the context
  found = perplexity.FastaPerplexity("p", "p.fasta", Modality.PROTEIN).run(random_model(), str(tmp_path), SETTINGS)
  letters = np.concatenate([letters_of((Modality.PROTEIN, text))[0] for text in ("MKTAY", "MKWAYLLR" * 12)])
  assert found.metrics["bits_per_residue"] == pytest.approx(-letters.mean() / math.log(2), rel=1e-5)
  assert found.metrics["perplexity"] == pytest.approx(math.exp(-letters.mean()), rel=1e-5)
  assert found.counts == {"sequences": 2, "residues": 101} and found.truncation["share"] == 0.5


def test_perplexity_of_rows_is_that_of_one_modalitys_letters_in_their_documents(tmp_path):
  write_row_set(tmp_path, "single")
  task = perplexity.RowsPerplexity("rows", "single", Modality.DNA)
  model = random_model(CONTEXT)
  found = task.run(model, str(tmp_path), dataclasses.replace(SETTINGS, limit=3))
  assert found.counts["rows"] == 3 and 0 < found.counts["residues"] < 3 * CONTEXT
  assert found.metrics["perplexity"] == pytest.approx(2 ** found.metrics["bits_per_residue"])
  assert list(found.data) == ["single/corpus.json"]
