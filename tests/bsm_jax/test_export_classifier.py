"""Fine-tuned models as transformers' `LlamaForSequenceClassification`."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from ml_collections import ConfigDict

from bsm_jax.evaluation.finetune import data as data_lib
from bsm_jax.evaluation.finetune import run
from bsm_jax.export import check, classifier
from bsm_jax.export.classifier import ClassifierError
from configs import finetune
from tests.bsm_jax.sample_models import random_model

torch = pytest.importorskip("torch", reason="needs the extra [export]")
transformers = pytest.importorskip("transformers", reason="needs the extra [export]")
pytest.importorskip("safetensors.numpy", reason="needs the extra [export]")

ROOT = pathlib.Path(classifier.__file__).parents[2]
FP32 = np.dtype(np.float32)


def make_config(folder: pathlib.Path, loss: str = "bce", **changes) -> ConfigDict:
  """Pairs of RNA and protein; the label is which letter the protein begins with."""
  rng = np.random.default_rng(0)
  lines = ["rna,protein,label"]
  for number in range(24):
    label = number % (3 if loss == "cce" else 2)
    rna = "".join(rng.choice(list("ACGU"), 9))
    lines.append(f"{rna},{'ACD'[label]}{''.join(rng.choice(list('EFG'), 6))},{label + 5.0 if loss == 'mse' else label}")
  (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
  config = finetune.get_config()
  config.task, config.loss, config.seeds, config.baselines, config.resamples = "pairs", loss, (0,), "", 10
  config.metric = "spearman" if loss == "mse" else "accuracy"
  config.head_bias, config.save, config.epochs, config.optimizer.learning_rate = False, True, 1, 1e-3
  config.data.update({"layout": "csv", "root": str(folder), "train": "pairs.csv", "test": "pairs.csv",
                      "columns": "rna=rna,protein=protein", "max_length": 40})  # fmt: skip
  config.update(changes)
  return config


def saved(folder: pathlib.Path, config: ConfigDict) -> str:
  run.finetune(config, random_model(), str(folder / "out"))
  return str(folder / "out" / "checkpoint" / "seed_0.npz")


def export(path: str, out: pathlib.Path) -> list[str]:
  return classifier.export(path, str(out), dtype=FP32, max_shard_bytes=1 << 30)


@pytest.mark.parametrize(("mode", "loss"), [("lora", "bce"), ("probe", "cce"), ("full", "mse")])
def test_transformers_predicts_what_fine_tuning_predicted(tmp_path, mode, loss):
  config = make_config(tmp_path, loss, mode=mode, **({} if loss == "mse" else {"class_weights": "balanced"}))
  (said,) = export(saved(tmp_path, config), tmp_path / "hf")
  assert "token ids are equal" in said
  reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
  model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "hf").eval()
  test = run.read_data(config).test
  rna, protein = (
      [f"<{kind}>{row.split(',')[at]}" for row in (tmp_path / "pairs.csv").read_text().splitlines()[1:]]
      for at, kind in enumerate(("rna", "protein"))
  )
  inputs = reader([text.lower() for text in rna], protein, padding=True, return_tensors="pt")
  for row, tokens in zip(inputs["input_ids"].numpy(), test.tokens):
    np.testing.assert_array_equal(row[: len(tokens)], tokens)
  with torch.inference_mode():
    logits = model(**inputs).logits.numpy()
  found = json.loads((tmp_path / "out" / "checkpoint" / "seed_0.json").read_text())["scores"]
  ours = {"bce": lambda x: x[:, 1] - x[:, 0], "cce": lambda x: x.argmax(1), "mse": lambda x: x[:, 0]}[loss](logits)
  np.testing.assert_allclose(ours, found, rtol=2e-3, atol=2e-4)
  names = {"bce": {0: "0", 1: "1"}, "cce": {0: "0", 1: "1", 2: "2"}, "mse": {0: "value"}}[loss]
  assert model.config.id2label == names


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[str, pathlib.Path]:
  place = tmp_path_factory.mktemp("classifier")
  path = saved(place, make_config(place, mode="probe"))
  export(path, place / "hf")
  return path, place / "hf"


def test_a_long_pair_is_cut_as_in_training(exported):
  reader = transformers.AutoTokenizer.from_pretrained(exported[1])
  for sizes in ((60, 50), (60, 5), (5, 60), (34, 33)):
    ids = reader("<rna>" + "a" * sizes[0], "<protein>" + "M" * sizes[1], truncation=True)["input_ids"]
    kept = data_lib.cut_lengths(sizes, 40 - 5)
    found = [ids.count(reader.convert_tokens_to_ids(letter)) for letter in "aM"]
    assert len(ids) == 40 and ids[-1] == reader.eos_token_id and abs(found[0] - kept[0]) <= 1


def test_the_cards_example_runs_as_it_stands(exported):
  card = (exported[1] / "README.md").read_text()
  code = card.split("```python\n")[1].split("```")[0]
  assert '"<rna>' in code and '"<protein>' in code and "pipeline_tag: text-classification" in card
  env = {"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
  done = subprocess.run([sys.executable, "-c", code], cwd=exported[1].parent, env=env, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert "tensor([[" in done.stdout and "{0: '0', 1: '1'}" in done.stdout


@pytest.mark.parametrize(("changes", "said"), [
    ({"pool": "mean"}, "pool=mean, .*the last token only: fine-tune with --config.pool=last"),
    ({"head_bias": True}, "a head with a bias, .*--config.head_bias=False"),
])
def test_what_the_class_cannot_express_is_refused_with_the_remedy(tmp_path, changes, said):
  path = saved(tmp_path, make_config(tmp_path, mode="probe", **changes))
  with pytest.raises(ClassifierError, match=said):
    export(path, tmp_path / "hf")
  assert not (tmp_path / "hf").exists()


def test_a_file_that_is_none_is_refused(tmp_path):
  for name, content in (("a.npz", b"PK nothing"), ("absent.npz", None)):
    if content:
      (tmp_path / name).write_bytes(content)
    with pytest.raises(ClassifierError, match=f"{name} is no fine-tuned model .*save=True"):
      classifier.read(str(tmp_path / name))
  np.savez(tmp_path / "old.npz", **{"head/weight": np.ones((2, 1))})
  with pytest.raises(ClassifierError, match="old.npz is no fine-tuned model"):
    classifier.read(str(tmp_path / "old.npz"))


def test_a_folder_that_computes_something_else_is_not_left_behind(exported, tmp_path, monkeypatch):
  outputs = classifier.torch_outputs
  monkeypatch.setattr(classifier, "torch_outputs", lambda *args: [1.01 * x for x in outputs(*args)])
  with pytest.raises(ClassifierError, match="so nothing was written"):
    export(exported[0], tmp_path / "hf")
  assert list(tmp_path.iterdir()) == []



def test_documents_of_the_check_hold_pairs():
  assert any(len(document) == 2 for document in check.documents(40).values())


def test_the_command_exports_a_classifier(exported, tmp_path):
  done = subprocess.run(
      [sys.executable, "-m", "bsm_jax.torch_export", f"--classifier={exported[0]}", f"--out={tmp_path / 'hf'}"],
      cwd=ROOT, capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert "differ by at most" in done.stdout and (tmp_path / "hf" / "model.safetensors").exists()
