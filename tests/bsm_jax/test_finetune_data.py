"""Labelled data for fine-tuning: layouts, the length policy, and errors that say where and what to do."""

import gzip

import numpy as np
import pytest

from bsm_jax import tokenizer
from bsm_jax.evaluation.finetune import data
from bsm_jax.evaluation.finetune.data import DataConfig, DataError

LUCAONE_PAIR = "seq_id_a,seq_id_b,seq_type_a,seq_type_b,seq_a,seq_b,label\n"
TRAIN, TEST = "id,seq,label\na,MK,1\nb,MA,0\n", "id,seq,label\nc,MC,1\n"


def put_csv(folder, test_text=TEST, train_text=TRAIN, **others) -> DataConfig:
  (folder / "train.csv").write_text(train_text)
  (folder / "test.csv").write_text(test_text)
  settings = {"root": str(folder), "train": "train.csv", "test": "test.csv", "columns": "seq=protein", "dev_share": 0.5}
  return DataConfig(**settings | others)


def put_lucaone(folder, text, header=LUCAONE_PAIR, labels="label\nno\nyes\n") -> DataConfig:
  task = folder / "ncRPI" / "gene_protein" / "binary_class"
  for part in data.PARTS:
    (task / part).mkdir(parents=True)
    (task / part / f"{part}.csv").write_text(header + text)
  (task / "label.txt").write_text(labels)
  return DataConfig(layout="lucaone", root=str(folder), folder="ncRPI/gene_protein/binary_class", gene="rna")


def decoded(part: data.Part) -> list[str]:
  return [tokenizer.decode(tokens) for tokens in part.tokens]


def test_lucaones_pairs_become_one_document_with_the_tasks_modality_for_genes(tmp_path):
  config = put_lucaone(tmp_path, "n1,P1,gene,prot,ACGT,MK,1\nn2,P2,prot,gene,MA,GG,0\n")
  found = data.read(config, regression=False, binary=True)
  expected = ["<bos><rna>acgt<sep><protein>MK<eos>", "<bos><protein>MA<sep><rna>gg<eos>"]
  assert decoded(found.train) == expected and found.train.names == ["n1|P1", "n2|P2"]
  assert found.test.labels.tolist() == [1, 0] and found.classes == ("no", "yes")
  assert list(found.digests) == ["train.csv", "dev.csv", "test.csv"]


def test_lucaones_single_sequences_and_a_label_file_without_header(tmp_path):
  header = "seq_id,seq_type,seq,label\n"
  config = put_lucaone(tmp_path, "a,prot,MK,2\n", header=header, labels="x\ny\nz\n")
  found = data.read(config, regression=False)
  assert decoded(found.dev) == ["<bos><protein>MK<eos>"] and found.classes == ("x", "y", "z")


def test_columns_of_several_files_come_in_the_order_of_the_config(tmp_path):
  header = "label\tcds\tprotein\n"
  (tmp_path / "a.tsv").write_text(header + "bad\tacg\tMK\n")
  (tmp_path / "b.tsv.gz").write_bytes(gzip.compress((header + "good\tac g\tMA\n").encode()))
  config = DataConfig(root=str(tmp_path), train="a.tsv,b.tsv.gz", dev="a.tsv", test="b.tsv.gz", classes="good,bad",
                      columns="protein=protein,cds=dna")  # fmt: skip
  found = data.read(config, regression=False)
  assert decoded(found.train) == ["<bos><protein>MK<sep><dna>acg<eos>", "<bos><protein>MA<sep><dna>acg<eos>"]
  assert found.train.labels.tolist() == [1, 0] and found.train.names == ["line_2", "line_2"]
  assert found.counts()["test_documents_in_training"] == 1


def test_without_a_dev_file_a_part_of_the_training_data_serves_and_is_no_longer_trained_on(tmp_path):
  lines = "".join(f"n{i},M{'AC'[i % 2] * (i + 1)},{i % 2}\n" for i in range(10))
  config = put_csv(tmp_path, train_text="id,seq,label\n" + lines, dev_share=0.3)
  found, again = (data.read(config, regression=False, binary=True) for _ in range(2))
  assert len(found.dev) == 3 and len(found.train) == 7 and not {*found.dev.names} & {*found.train.names}
  assert found.dev.names == again.dev.names and "drawn from the training data" in found.notes[0]


def test_limits_draw_the_same_examples_each_time(tmp_path):
  lines = "".join(f"n{i},MA,{i % 2}\n" for i in range(40))
  config = put_csv(tmp_path, "id,seq,label\n" + lines, test_limit=8)
  first, second = (data.read(config, regression=False).test.names for _ in range(2))
  assert first == second and len({*first}) == 8


@pytest.mark.parametrize(
    ("sizes", "room", "kept"),
    [([5, 9], 14, [5, 9]), ([5, 9], 12, [5, 7]), ([5, 9], 8, [4, 4]), ([9, 2], 7, [5, 2]), ([7, 8, 1], 9, [4, 4, 1]),
     ([10], 3, [3])],
)  # fmt: skip
def test_the_longest_sequence_is_cut_first(sizes, room, kept):
  assert data.cut_lengths(sizes, room) == kept


def test_what_is_cut_keeps_its_beginning_and_is_counted(tmp_path):
  test = "id,seq,label\na,MKAAAAAAAA,1\nb,MK,0\n"
  found = data.read(put_csv(tmp_path, test, max_length=8), regression=False)
  assert decoded(found.test) == ["<bos><protein>MKAAA<eos>", "<bos><protein>MK<eos>"]
  cut = found.truncation(8)
  assert cut["share"] == 0.5 and cut["share_by_part"]["train"] == 0 and cut["letters_share"] == 5 / 16
  with pytest.raises(DataError, match="test.csv, line 2: 13 tokens exceed data.max_length 8"):
    data.read(put_csv(tmp_path, test, max_length=8, truncate=False), regression=False)


def test_lenient_reading_counts_the_letters_it_does_not_know(tmp_path):
  config = put_csv(tmp_path, "id,seq,label\na,M1K,1\n", lenient=True)
  found = data.read(config, regression=False)
  assert found.test.tokens[0][3] == tokenizer.UNK and found.counts()["unknown_letters"] == 1


def test_labels_of_a_regression_are_numbers(tmp_path):
  config = put_csv(tmp_path, "id,seq,label\na,MK,-0.25\n")
  assert data.read(config, regression=True).test.labels.dtype == np.float64
  with pytest.raises(DataError, match="test.csv, line 2: the label 'nan' is no finite number"):
    data.read(put_csv(tmp_path, "id,seq,label\na,MK,nan\n"), regression=True)


@pytest.mark.parametrize(
    ("test", "options", "message"),
    [
        ("id,sequence,label\na,MK,1\n", {}, "line 1: no column 'seq'; there are: id, sequence, label. Name the"),
        ("id,seq,class\na,MK,1\n", {}, "line 1: no column 'label'"),
        ("id,seq,label\na,MK,2\n", {}, "line 2: the label '2' is not one of 0, 1: mend it"),
        ("id,seq,label\na,MK,1\nb,,1\n", {}, "line 3: no protein in column 'seq'"),
        ("id,seq,label\na,M4,1\n", {}, "line 2: '4' at position 2 of 2 is not a letter of a protein .*lenient=True"),
        ("id,seq,label\na,MK\n", {}, "line 2: not as many fields as the header's 3"),
        ("id,seq,label\n", {}, "there is no test example"),
        ("id,seq,label\na,MK,1\n", {"test": "none.csv"}, "none.csv cannot be read"),
        ("id,seq,label\na,MK,1\n", {"test": "test.fasta"}, "test.fasta: the name must end in .csv or .tsv"),
        ("id,seq,label\na,MK,1\n", {"test": None}, "no test file: give --config.data.test"),
        ("id,seq,label\na,MK,1\n", {"columns": ""}, "data.columns is empty"),
        ("id,seq,label\na,MK,1\n", {"columns": "seq"}, "write COLUMN=dna"),
        ("id,seq,label\na,MK,1\n", {"classes": "1,2,3"}, "two different ones are needed"),
        ("id,seq,label\na,MK,1\n", {"max_length": 3}, "leaves no room"),
        ("id,seq,label\na,MK,1\n", {"layout": "json"}, "use one of lucaone, csv"),
    ],
)
def test_data_that_cannot_be_used_is_named_with_its_place_and_the_remedy(tmp_path, test, options, message):
  with pytest.raises(DataError, match=message):
    data.read(put_csv(tmp_path, test, **options), regression=False, binary=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [("n1,P1,gene,prot,ACGT,MK,2\n", "the label '2' is not an index below 2"),
     ("n1,P1,rna,prot,ACGT,MK,1\n", "sequence type 'rna': write gene or prot")],
)  # fmt: skip
def test_lucaones_types_and_indices_are_checked(tmp_path, line, message):
  with pytest.raises(DataError, match=f"line 2: {message}"):
    data.read(put_lucaone(tmp_path, line), regression=False, binary=True)
