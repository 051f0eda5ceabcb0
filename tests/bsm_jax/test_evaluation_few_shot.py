"""Few-shot evaluation: layouts, pairs that can be told apart, demonstrations and their control, scores and figures."""

import dataclasses
import gzip
import pathlib

import numpy as np
import pytest

from bsm_jax import inference, tokenizer
from bsm_jax import model as model_lib
from bsm_jax.evaluation import demonstrations, suites
from bsm_jax.evaluation.demonstrations import Pair, parse_layout, read_layout, read_pairs
from bsm_jax.evaluation.tasks import few_shot
from bsm_jax.evaluation.tasks.task import Settings, TaskError
from bsm_jax.inference.documents import InputError
from bsm_jax.training import step as step_lib
from tests.bsm_jax.sample_models import random_model

LAYOUT = dataclasses.replace(read_layout("whole_cds_v1"), most=None)
SMALL = dataclasses.replace(LAYOUT, codons=2, most=2)
BASES = np.array(list("acgt"))
RESIDUES = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
SETTINGS = Settings(resamples=20)


def letters(rng, count: int, alphabet=BASES) -> str:
  return "".join(rng.choice(alphabet, count))


def write_table(path: pathlib.Path, genes: int = 30, groups=("x", "y"), **changes) -> str:
  """Right and wrong pairs of random genes, in turn of each group and half of them dev; `changes` are of line 2."""
  rng = np.random.default_rng(0)
  rows = []
  for number in range(genes):
    dna = "atg" + letters(rng, 27)
    for label in (1, 0):
      rows.append({
          "id": f"g{number}", "group": groups[number % len(groups)], "split": ("dev", "test")[number // 2 % 2],
          "label": str(label), "kind": "true" if label else "other", "dna": dna,
          "protein": "M" + letters(rng, 9, RESIDUES),
      })  # fmt: skip
  rows[0] |= changes
  text = "\n".join("\t".join(line) for line in [list(rows[0]), *(list(row.values()) for row in rows)]) + "\n"
  path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
  return str(path)


def across(context: int = 64) -> inference.Model:
  return dataclasses.replace(random_model(context), attend_across_documents=True)


# --- layouts


def layout_file(**changes) -> bytes:
  keys = {
      "name": "x", "version": 1, "gene": "dna", "skip_letters": 0, "skip_codons": 0, "codons": 2, "join": "trained",
      "most": "null",
  }  # fmt: skip
  return "".join(f"{key}: {value}\n" for key, value in (keys | changes).items()).encode()


def test_every_packaged_layout_can_be_read_and_every_task_has_one():
  for path in (pathlib.Path(demonstrations.__file__).parent / "layouts").iterdir():
    assert f"{read_layout(path.stem).name}_v{read_layout(path.stem).version}" == path.stem
  tasks = [suites.TASKS[name] for name in suites.SUITES["few_shot"]]
  assert len({read_layout(task.layout).sha256 for task in tasks}) == len(tasks) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (layout_file(colour="red"), "no such key: colour"),
        (layout_file().replace(b"codons: 2\n", b""), "lacks codons"),
        (layout_file(version=2), r"x_v1.yaml says that it is version 2 of x: it should be x_v2.yaml"),
        (layout_file(codons=0), "codons must be a whole number from 1, not 0"),
        (layout_file(codons="true"), "codons must be a whole number"),
        (layout_file(join="both"), "join must be trained or document or documents, not 'both'"),
        (layout_file(gene="protein"), "gene must be dna or rna"),
        (b"a: [", "x_v1.yaml is no YAML"),
        (b"just text", "lacks name; lacks version"),
    ],
)
def test_a_wrong_layout_is_refused_with_file_and_key(content, says):
  with pytest.raises(TaskError, match=says):
    parse_layout(content, "x_v1.yaml")


def test_an_unknown_layout_is_told_with_those_there_are():
  with pytest.raises(TaskError, match="no layout nothing_v1; there are: central_dogma_v1, whole_cds_v1"):
    read_layout("nothing_v1")


def test_the_same_codons_are_shown_of_gene_and_protein():
  layout = dataclasses.replace(LAYOUT, skip_letters=4, skip_codons=1, codons=2)
  assert layout.show("nnnn" + "atg" + "gcc" + "aaa" + "ttt", "MAKF") == ("gccaaa", "AK")
  assert layout.show("nnnn" + "atg" + "gcc" + "aaa", "MA") is None


@pytest.mark.parametrize("joined", ["document", "documents"])
@pytest.mark.parametrize("context", [29, 64, 100, 256])
def test_as_many_demonstrations_as_fit_the_context_are_given(joined, context):
  model = dataclasses.replace(random_model(context), attend_across_documents=True)
  shown = ("acg" * LAYOUT.codons, "T" * LAYOUT.codons)
  most = LAYOUT.room(context, joined)
  assert few_shot.protein_scores(model, LAYOUT, joined, [[shown] * (most + 1)], ["a"]).shape == (1,)
  with pytest.raises(InputError, match="exceed the model's context"):
    few_shot.protein_scores(model, LAYOUT, joined, [[shown] * (most + 2)], ["a"])


# --- pairs


def test_pairs_are_read_from_plain_and_gzipped_tables_alike(tmp_path):
  plain, counts = read_pairs(write_table(tmp_path / "a.tsv"), SMALL, {}, 0)
  assert (len(plain), set(counts.values())) == (60, {0})
  assert plain[0].split == "dev" and plain[0].kind == "true" and plain[0].label == 1
  assert read_pairs(write_table(tmp_path / "a.tsv.gz"), SMALL, {}, 0) == (plain, counts)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"label": "2"}, r"a.tsv, line 2 \(g0\): label must be 1 .* or 0, not '2'"),
        ({"split": "train"}, r"line 2 \(g0\): split must be dev or test, not 'train'"),
        ({"dna": "atgacgE"}, r"a.tsv, line 2 \(g0\): .*'E'.*\(column 'dna'\): correct the record"),
        ({"protein": "MA1"}, r"line 2 \(g0\): .*'1'.*\(column 'protein'\)"),
        ({"group": "y"}, r"line 3 \(g0\): this gene stands in another group or split before"),
    ],
)
def test_a_wrong_cell_is_told_with_file_line_and_gene(tmp_path, change, says):
  with pytest.raises(TaskError, match=says):
    read_pairs(write_table(tmp_path / "a.tsv", **change), SMALL, {}, 0)


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path):
  path = write_table(tmp_path / "a.tsv")
  with pytest.raises(TaskError, match=r"a.tsv, line 1: no column 'species'; there are: id, group, split"):
    read_pairs(path, SMALL, {"group": "species"}, 0)
  with pytest.raises(TaskError, match=r"no column 'right'"):
    read_pairs(path, SMALL, {"label": "right"}, 0)


def test_a_damaged_or_strange_file_is_told(tmp_path):
  (tmp_path / "a.tsv.gz").write_bytes(pathlib.Path(write_table(tmp_path / "b.tsv.gz")).read_bytes()[:-40])
  with pytest.raises(TaskError, match="a.tsv.gz cannot be read beyond line"):
    read_pairs(str(tmp_path / "a.tsv.gz"), SMALL, {}, 0)
  with pytest.raises(TaskError, match=r"must end in .csv or .tsv"):
    read_pairs(str(tmp_path / "a.fasta"), SMALL, {}, 0)
  (tmp_path / "c.tsv").write_text("id\tdna\tprotein\tlabel\ng1\tatg\n")
  with pytest.raises(TaskError, match="line 2: not as many fields as the header"):
    read_pairs(str(tmp_path / "c.tsv"), SMALL, {}, 0)


def test_pairs_that_differ_only_beyond_what_is_shown_are_not_asked(tmp_path):
  rows = [("a", 1, "MKLAA"), ("a", 0, "MKLAC"), ("b", 1, "MKLAA"), ("b", 0, "MCLAA"), ("c", 1, "M"), ("c", 0, "MKKKK")]
  lines = [f"{gene}\tatgacgacgacgacg\t{protein}\t{label}" for gene, label, protein in rows]
  (tmp_path / "a.tsv").write_text("\n".join(["id\tdna\tprotein\tlabel", *lines]))
  found, counts = read_pairs(str(tmp_path / "a.tsv"), SMALL, {}, 0)
  asked = [("a", 1, False), ("b", 1, True), ("b", 0, True), ("c", 0, True)]
  assert [(pair.gene, pair.label, pair.is_asked) for pair in found] == asked
  assert counts == {"too_short": 1, "same_as_true": 1, "only_shown": 1}


def test_genes_are_split_by_the_seed_where_the_file_does_not_say(tmp_path):
  path = write_table(tmp_path / "a.tsv", genes=100)
  text = pathlib.Path(path).read_text().replace("\tdev\t", "\t\t").replace("\ttest\t", "\t\t")
  pathlib.Path(path).write_text(text)
  splits = [{pair.gene: pair.split for pair in read_pairs(path, SMALL, {}, seed)[0]} for seed in (0, 0, 1)]
  assert splits[0] == splits[1] != splits[2]
  assert 15 < list(splits[0].values()).count("dev") < 45


def test_a_sample_is_of_whole_genes_and_keeps_the_order():
  pairs = [Pair(f"g{i // 2}", "", "test", "", i % 2, ("a", "A")) for i in range(20)]
  found = demonstrations.sample(pairs, 6, 0)
  assert len(found) == 6 and found == [pair for pair in pairs if pair in found]
  assert all(sum(other.gene == pair.gene for other in found) == 2 for pair in found)
  assert demonstrations.sample(pairs, None, 0) == pairs


# --- demonstrations


@pytest.fixture
def pairs(tmp_path):
  layout = dataclasses.replace(SMALL, codons=6)  # long enough that no two proteins are the same by chance
  return read_pairs(write_table(tmp_path / "a.tsv", genes=60), layout, {}, 0)[0]


def test_demonstrations_are_right_dev_pairs_of_other_genes_of_the_group(pairs):
  given = demonstrations.draw(pairs, pairs, 5, 0)
  allowed = {
      group: {pair.shown for pair in pairs if pair.label and pair.split == "dev" and pair.group == group}
      for group in "xy"
  }
  for pair in pairs:
    shown = given[pair.gene].take(5)
    assert len(set(shown)) == 5 and set(shown) <= allowed[pair.group]
    assert pair.shown[0] not in [codons for codons, _ in shown]


def test_a_copy_of_the_gene_is_no_demonstration_for_it(pairs):
  copies = [dataclasses.replace(pair, gene="copy", split="test") for pair in pairs if pair.gene == "g0"]
  given = demonstrations.draw(pairs + copies, copies, 10, 0)
  assert copies[0].shown[0] not in [codons for codons, _ in given["copy"].true]


def test_those_for_k_and_one_more_extend_those_for_k(pairs):
  of_gene = demonstrations.draw(pairs, pairs, 6, 0)["g3"]
  assert all(of_gene.take(k) == of_gene.take(k + 1)[:-1] for k in range(6))


def test_what_a_gene_is_given_does_not_depend_on_what_else_is_asked(pairs):
  alone = demonstrations.draw(pairs, [pair for pair in pairs if pair.gene == "g3"], 6, 0)
  assert alone["g3"] == demonstrations.draw(pairs, pairs, 6, 0)["g3"] != demonstrations.draw(pairs, pairs, 6, 1)["g3"]


def test_in_the_control_no_gene_keeps_its_protein_and_all_letters_stay(pairs):
  for of_gene in demonstrations.draw(pairs, pairs, 6, 0).values():
    for k in range(2, 7):
      shown, control = of_gene.take(k), of_gene.shuffled(k)
      assert [codons for codons, _ in control] == [codons for codons, _ in shown]
      assert sorted(residues for _, residues in control) == sorted(residues for _, residues in shown)
      assert all(one != other for one, other in zip(shown, control))
    (one,) = of_gene.shuffled(1)
    assert one == (of_gene.true[0][0], of_gene.true[6][1])


def test_too_few_genes_are_told_with_group_and_remedy(pairs):
  says = r"need 16 other genes .* group 'x', which has 1[45]: give more genes, or a layout with a smaller `most`"
  with pytest.raises(TaskError, match=says):
    demonstrations.draw(pairs, pairs, 15, 0)


# --- scores and figures


@pytest.mark.parametrize(
    ("scores", "labels", "threshold"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 2.5),
        ([4, 1, 3, 2], [1, 0, 1, 0], 2.5),
        ([1, 2, 3, 4, 5, 6], [0, 1, 0, 1, 0, 1], 3.5),  # as good as 1.5 and 5.5: the middle one
        ([1, 1, 1, 2], [0, 0, 1, 1], 1.5),  # none between equal scores
        ([1, 2], [1, 1], -np.inf),
        ([1, 2], [0, 0], np.inf),
    ],
)
def test_the_threshold_is_that_of_best_accuracy(scores, labels, threshold):
  assert few_shot.fit_threshold(np.array(scores, float), np.array(labels)) == threshold


@pytest.mark.parametrize("joined", ["document", "documents"])
def test_a_score_does_not_depend_on_what_else_is_asked(joined):
  rng = np.random.default_rng(0)
  prompts = [
      [(letters(rng, 6), letters(rng, 2, RESIDUES)) for _ in range(size)] for size in (1, 2, 3, 4, 2, 1, 3, 4) * 6
  ]
  names = list(map(str, range(len(prompts))))
  together = few_shot.protein_scores(across(), SMALL, joined, prompts, names)
  alone = [few_shot.protein_scores(across(), SMALL, joined, [prompt], ["a"])[0] for prompt in prompts[:8]]
  np.testing.assert_array_equal(together[:8], alone)


def test_a_score_is_the_mean_log_probability_of_the_test_proteins_letters():
  rng = np.random.default_rng(0)
  shown = [(letters(rng, 6), letters(rng, 2, RESIDUES)) for _ in range(3)]
  (found,) = few_shot.protein_scores(random_model(), SMALL, "document", [shown], ["a"])
  document = [part for codons, residues in shown for part in (("dna", codons), ("protein", residues))]
  (one,) = inference.likelihoods(random_model(), [document])
  assert found == pytest.approx(one.parts[-1].mean())


def test_documents_before_are_seen_as_in_training():
  model, rng = across(), np.random.default_rng(0)
  row = [(("dna", letters(rng, 6)), ("protein", letters(rng, 2, RESIDUES))) for _ in range(3)]
  (found,) = inference.likelihoods_behind(model, [row])
  tokens = np.concatenate([tokenizer.encode_document(
      [(tokenizer.Modality.parse(m), x) for m, x in document]) for document in row])  # fmt: skip
  apply = model_lib.make_apply(model.config)
  losses, _ = step_lib.token_losses(apply, model.params, tokens[None], attend_across_documents=True)
  np.testing.assert_allclose(found.parts[1], -np.asarray(losses)[0, -4:-2], rtol=1e-5)
  (alone,) = inference.likelihoods_behind(model, [row[2:]])
  assert not np.allclose(found.parts[1], alone.parts[1])


def test_a_model_trained_inside_documents_is_not_asked_across_them():
  with pytest.raises(InputError, match="trained to attend inside documents"):
    inference.likelihoods_behind(random_model(), [[(("dna", "acg"),)]])


@pytest.fixture
def task(monkeypatch):
  monkeypatch.setattr(demonstrations, "read_layout", lambda name: SMALL)
  return few_shot.FewShot("task", "pairs.tsv", "whole_cds_v1", "nowhere")


@pytest.mark.parametrize("model", [random_model(), across()])
def test_a_task_says_all_that_its_figures_depend_on(tmp_path, task, model):
  write_table(tmp_path / "pairs.tsv.gz")
  found = task.run(model, str(tmp_path), SETTINGS)
  assert found.settings["joined"] == ("documents" if model.attend_across_documents else "document")
  assert found.settings["layout"]["sha256"] == SMALL.sha256 and "layout whole_cds_v1" in found.version
  assert found.counts["most_demonstrations"] == 2 and found.counts["dev_pairs"] + found.counts["test_pairs"] == 60
  settings = ("k0", "k1", "k2", "shuffled_k1", "shuffled_k2")
  assert {name for name in found.metrics if name.startswith("accuracy_")} == {f"accuracy_{one}" for one in settings}
  assert found.metrics["accuracy"] == found.metrics["accuracy_k2"]
  assert found.metrics["gain_over_shuffled/k2"] == pytest.approx(
      found.metrics["accuracy_k2"] - found.metrics["accuracy_shuffled_k2"]
  )
  png, csv = map(pathlib.Path, task.draw(found, tmp_path))
  assert png.read_bytes().startswith(b"\x89PNG") and len(csv.read_text().splitlines()) == 11


def test_accuracy_rises_with_k_where_scores_come_from_right_demonstrations(tmp_path, task, monkeypatch):
  write_table(tmp_path / "pairs.tsv", genes=200)
  right = {pair.shown: pair.label for pair in read_pairs(str(tmp_path / "pairs.tsv"), SMALL, {}, 0)[0]}

  def oracle(model, layout, joined, prompts, names, progress=None):
    """Knows a label in 40 % of the cases for each right demonstration; else it guesses."""
    rng = np.random.default_rng(1)
    known = [rng.random() < 0.4 * sum(right.get(shown, 0) for shown in prompt[:-1]) for prompt in prompts]
    return np.array([right[p[-1]] if one else rng.random() for p, one in zip(prompts, known)], float)

  monkeypatch.setattr(few_shot, "protein_scores", oracle)
  found = task.run(across(), str(tmp_path), SETTINGS).metrics
  assert found["accuracy_k2"] > found["accuracy_k1"] > found["accuracy_k0"] + 0.05
  assert abs(found["accuracy_shuffled_k2"] - 0.5) < 0.1 and found["auc/k2"] > 0.85


def test_a_split_without_both_labels_is_told(tmp_path, task):
  text = pathlib.Path(write_table(tmp_path / "pairs.tsv")).read_text()
  (tmp_path / "pairs.tsv").write_text("".join(x for x in text.splitlines(True) if "\ttest\t0" not in x))
  with pytest.raises(TaskError, match="the test split has not both right and wrong pairs"):
    task.run(across(), str(tmp_path), SETTINGS)
