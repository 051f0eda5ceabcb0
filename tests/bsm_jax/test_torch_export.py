"""Exports: the same model in PyTorch, the same parameters back, and nothing left where they are not."""

import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from bsm_jax import inference, tokenizer, torch_export
from bsm_jax import model as model_lib
from bsm_jax.export import check, folder, llama, source
from bsm_jax.export.folder import FolderError
from bsm_jax.export.llama import LlamaError
from bsm_jax.training import beginning, checkpoint, program
from configs import bsm_110m, bsm_270m
from tests.bsm_jax.hosts import Hosts, python_source
from tests.bsm_jax.sample_exports import small_config, write_run

torch = pytest.importorskip("torch", reason="needs the extra [export]")
transformers = pytest.importorskip("transformers", reason="needs the extra [export]")
safetensors_numpy = pytest.importorskip("safetensors.numpy", reason="needs the extra [export]")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> pathlib.Path:
  """A run on eight devices, its weights spread over them."""
  place = tmp_path_factory.mktemp("run")
  write_run(place, small_config(), (1, 8, 1))
  lines = [{"step": 2, "valid/pairs/dna": 1.75}, {"step": 9, "valid/pairs/dna": 1.5}]
  (place / "metrics.jsonl").write_text("".join(json.dumps(line | {"kind": "valid"}) + "\n" for line in lines))
  return place


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> pathlib.Path:
  place = tmp_path_factory.mktemp("exported") / "model"
  torch_export.export(str(run), str(place))
  return place


@pytest.fixture(scope="module")
def exported_bf16(run, tmp_path_factory) -> pathlib.Path:
  """In several files."""
  place = tmp_path_factory.mktemp("exported") / "model"
  torch_export.export(str(run), str(place), dtype="bfloat16", max_shard_bytes=40_000)
  return place


@pytest.fixture
def copied(exported, tmp_path) -> pathlib.Path:
  """An export to be changed."""
  place = tmp_path / "copied"
  place.mkdir()
  for path in exported.iterdir():
    (place / path.name).write_bytes(path.read_bytes())
  return place


def params_of(run: pathlib.Path) -> dict:
  opened = source.Source(str(run), None)
  params = opened.params()
  opened.close()
  return params


def change_json(path: pathlib.Path, **changes) -> None:
  value = json.loads(path.read_text()) | changes
  path.write_text(json.dumps({key: entry for key, entry in value.items() if entry is not None}))


def change_tensors(place: pathlib.Path, change) -> None:
  found = dict(safetensors_numpy.load_file(place / "model.safetensors"))
  change(found)
  safetensors_numpy.save_file(found, place / "model.safetensors")


# --- The same model


def model_logits(params: dict, tokens: np.ndarray) -> np.ndarray:
  """fp32 [tokens, 64] of one document, in JAX."""
  settings = small_config()
  settings.model.update({"dtype": "float32", "attention": "reference", "blocks": "xla"})
  apply = model_lib.make_apply(program.model_config(settings))
  tokens = jnp.asarray(tokens, jnp.int32)[None]
  return np.asarray(apply(params, tokens, jnp.ones_like(tokens), jnp.arange(tokens.size)[None]))[0, :, :64]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_transformers_computes_the_logits_of_jax(run, exported, exported_bf16, dtype):
  tokens = np.arange(64) % 60  # Every letter, and tokens that no document has in this order.
  params = params_of(run)
  if dtype == "bfloat16":
    params = jax.tree.map(lambda x: jnp.asarray(np.asarray(x).astype(jnp.bfloat16).astype(np.float32)), params)
  place = exported if dtype == "float32" else exported_bf16
  model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
  with torch.inference_mode():
    found = model(torch.from_numpy(tokens)[None]).logits[0].numpy()
  expected = model_logits(params, tokens)
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_folder_says_the_dtype_of_its_tensors(exported, exported_bf16, dtype):
  place = exported if dtype == "float32" else exported_bf16
  model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype="auto")
  assert model.dtype == getattr(torch, dtype)
  assert {x.dtype for x in safetensors_numpy.load_file(next(place.glob("*.safetensors"))).values()} == {
      torch_export.DTYPES[dtype]
  }


def test_the_files_keep_below_the_size_that_was_asked_for(exported, exported_bf16):
  assert [path.name for path in exported.glob("*.safetensors*")] == ["model.safetensors"]
  index = json.loads((exported_bf16 / "model.safetensors.index.json").read_text())
  files = sorted(path.name for path in exported_bf16.glob("*.safetensors"))
  assert files == [f"model-{k:05d}-of-{len(files):05d}.safetensors" for k in range(1, len(files) + 1)]
  assert sorted(set(index["weight_map"].values())) == files and len(files) > 2
  held = [sum(x.nbytes for x in safetensors_numpy.load_file(exported_bf16 / name).values()) for name in files]
  assert max(held) <= 40_000 and sum(held) == index["metadata"]["total_size"]


def test_tensors_are_cut_into_files_in_their_order():
  assert folder.cut({"a": 3, "b": 3, "c": 9, "d": 1, "e": 5}, 6) == [["a", "b"], ["c"], ["d", "e"]]


@pytest.mark.parametrize("config", [bsm_110m, bsm_270m])
def test_names_and_shapes_of_the_paper_s_models_are_those_of_llama(config):
  shape = program.model_config(config.get_config())
  loaded = transformers.LlamaConfig.from_dict(llama.to_config(shape, 1024, "float32"))
  assert (loaded.head_dim, loaded.vocab_size, loaded.tie_word_embeddings) == (shape.head_dim, 64, True)
  with torch.device("meta"):
    model = transformers.LlamaForCausalLM(loaded)
  expected = {name: tuple(x.shape) for name, x in model.named_parameters()}
  assert {name: dims for part in llama.tensor_shapes(shape).values() for name, dims in part.items()} == expected


def test_generation_needs_nothing_of_ours(exported, tmp_path):
  program_text = """
import sys
sys.modules["bsm_jax"] = None  # An import of it fails.
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
batch = tokenizer(["<dna>acgu<sep><protein>", "<protein>MKLV"], return_tensors="pt", padding=True)
output = model.generate(**batch, max_new_tokens=8, min_new_tokens=8, do_sample=False)
alone = model.generate(**tokenizer("<protein>MKLV", return_tensors="pt"), max_new_tokens=8, min_new_tokens=8,
                       do_sample=False)
assert output[1, -8:].tolist() == alone[0, -8:].tolist()
print(output.shape, tokenizer.decode(output[0]), tokenizer.model_max_length)
"""
  done = subprocess.run(
      [sys.executable, "-I", "-c", program_text, str(exported)], cwd=tmp_path, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith("torch.Size([2, 16]) <bos><dna>acgt<sep><protein>") and done.stdout.endswith(" 64\n")


def test_the_card_tells_how_the_model_was_trained(exported):
  text = (exported / "README.md").read_text()
  head, body = text.removeprefix("---\n").split("\n---\n", 1)
  assert "license: apache-2.0" in head and "library_name: transformers" in head
  for told in ("# model\n", "Step 3 of", "| round1 |", "| single_dna | 20 | 1,280 |", "| pairs: dna | 1.7500 |",
               tokenizer.vocabulary_hash(), "differ by at most"):  # fmt: skip
    assert told in body


def test_no_path_of_the_training_machine_is_published(exported):
  assert not [path.name for path in exported.iterdir() if b"/home/somebody" in path.read_bytes()]


# --- What is not the same model


def roll_heads(tensors):
  """A mapping in which the query heads of layer 1 stand one place further."""

  def wrong(tree, config):
    found, name = tensors(tree, config), "model.layers.1.self_attn.q_proj.weight"
    return found | ({name: jnp.roll(found[name], config.head_dim, axis=0)} if name in found else {})

  return wrong


def test_a_permuted_head_makes_the_export_fail_and_leaves_nothing(run, tmp_path, monkeypatch):
  monkeypatch.setattr(llama, "tensors", roll_heads(llama.tensors))
  with pytest.raises(torch_export.ExportError, match=r"worst difference is .* in the document '.*' at token \d+"):
    torch_export.export(str(run), str(tmp_path / "model"))
  assert not list(tmp_path.iterdir())


def test_an_interrupted_export_leaves_nothing(run, tmp_path, monkeypatch):
  def interrupt(*_):
    raise KeyboardInterrupt

  monkeypatch.setattr(torch_export, "compare", interrupt)
  with pytest.raises(KeyboardInterrupt):
    torch_export.export(str(run), str(tmp_path / "model"))
  assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(run, tmp_path):
  (tmp_path / "model").mkdir()
  (tmp_path / "model/thesis.tex").write_text("years of work")
  with pytest.raises(FolderError, match="exists and is not empty: .*--overwrite"):
    torch_export.export(str(run), str(tmp_path / "model"))
  with pytest.raises(FolderError, match="is no export .* so --overwrite does not replace it"):
    torch_export.export(str(run), str(tmp_path / "model"), overwrite=True)
  assert [path.name for path in tmp_path.rglob("*")] == ["model", "thesis.tex"]


def test_overwrite_replaces_an_export_only_by_a_proven_one(run, copied, monkeypatch):
  (copied / "README.md").write_text("old")
  with monkeypatch.context() as planted:
    planted.setattr(llama, "tensors", roll_heads(llama.tensors))
    with pytest.raises(torch_export.ExportError):
      torch_export.export(str(run), str(copied), overwrite=True)
  assert (copied / "README.md").read_text() == "old"
  torch_export.export(str(run), str(copied), overwrite=True)
  assert (copied / "README.md").read_text().startswith("---\n")
  assert [path.name for path in copied.parent.iterdir()] == ["copied"]


def test_an_export_that_was_killed_between_its_renames_is_found_again(tmp_path):
  (tmp_path / ".model.old").mkdir()
  (tmp_path / ".model.old" / folder.ABOUT).write_text("{}")
  with pytest.raises(FolderError, match="exists and is not empty"), folder.as_a_whole(tmp_path / "model"):
    pass
  assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_differences_that_are_not_finite_are_the_worst():
  expected = {"a": np.ones((2, 64), np.float32), "b": np.ones((2, 64), np.float32)}
  found = {name: x.copy() for name, x in expected.items()}
  found["a"][1, 3], found["b"][0, 0] = np.nan, 5.0
  worst = check.compare(expected, [found])
  assert (worst.relative, worst.document, worst.position) == (np.inf, "a", 1)


@pytest.mark.parametrize("package", ["torch", "transformers", "safetensors"])
def test_a_missing_package_is_named_before_any_work(package, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, package, None)
  with pytest.raises(check.CheckError, match=rf"{package}.*pip install -e '.\[export\]'"):
    torch_export.export(str(tmp_path / "nowhere"), str(tmp_path / "model"))


def test_a_checkpoint_of_another_vocabulary_is_refused(run, tmp_path, monkeypatch):
  monkeypatch.setattr(tokenizer, "vocabulary_hash", lambda: "0123")
  with pytest.raises(source.SourceError, match="another vocabulary .* of bsm_jax .0123.: export it with the ver"):
    torch_export.export(str(run), str(tmp_path / "model"))
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command_ends_with_1_and_says_why(tmp_path):
  command = [sys.executable, "-m", "bsm_jax.torch_export", f"--checkpoint={tmp_path}/nowhere", f"--out={tmp_path}/out"]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 1 and "error: no complete checkpoint in" in done.stderr
  assert not list(tmp_path.iterdir())


# --- The way back


@pytest.fixture(scope="module")
def returned(exported, tmp_path_factory) -> pathlib.Path:
  """The run directory made of `exported`."""
  place = tmp_path_factory.mktemp("returned") / "run"
  torch_export.from_torch(str(exported), str(place))
  return place


def assert_identical(found, expected) -> None:
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), found, expected)


def test_parameters_come_back_bit_for_bit(run, returned):
  assert_identical(params_of(returned), params_of(run))


def test_bf16_tensors_in_several_files_come_back_as_they_were_rounded(run, exported_bf16, tmp_path):
  torch_export.from_torch(str(exported_bf16), str(tmp_path / "run"))
  rounded = jax.tree.map(lambda x: np.asarray(x).astype(jnp.bfloat16).astype(np.float32), params_of(run))
  assert_identical(params_of(tmp_path / "run"), rounded)


def test_what_came_back_has_a_fresh_optimizer_and_is_evaluated_as_any_run(returned):
  config = ConfigDict(json.loads((returned / "config.json").read_text()))
  config.mesh.data, config.mesh.fsdp = 8, 1
  state = program.make_program(config, program.make_mesh(config)).abstract_state
  found = checkpoint.Checkpointer(returned / "checkpoints").restore(state)
  assert found.step == 0 and found.state["step"] == 0
  assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(found.state["opt_state"]))
  model = inference.load(str(returned))
  assert model.step == 0
  assert_identical(model.params, params_of(returned))


def test_training_starts_from_what_came_back_and_shows_it_new_rows(run, returned):
  config = small_config()
  config.mesh.data, config.mesh.fsdp = 1, 8
  made = program.make_program(config, program.make_mesh(config))
  first, drawn = beginning.start_from(str(returned), json.loads(config.to_json_best_effort()), made)
  assert drawn == {"single_dna": 20, "single_protein": 4}
  assert_identical(first()["params"], params_of(run))


def test_what_came_back_is_exported_again(exported, returned, tmp_path):
  torch_export.export(str(returned), str(tmp_path / "again"))
  assert (tmp_path / "again/model.safetensors").read_bytes() == (exported / "model.safetensors").read_bytes()


def test_a_model_that_transformers_saved_comes_back_under_a_given_config(run, exported, tmp_path):
  saved = tmp_path / "saved"
  transformers.AutoModelForCausalLM.from_pretrained(exported).save_pretrained(saved)
  with pytest.raises(FolderError, match="lacks|cannot be read.*tokenizer.json|tokenizer.json cannot be read"):
    torch_export.from_torch(str(saved), str(tmp_path / "run"))
  transformers.AutoTokenizer.from_pretrained(exported).save_pretrained(saved)
  with pytest.raises(FolderError, match="has no bsm_jax.json .*--config"):
    torch_export.from_torch(str(saved), str(tmp_path / "run"))
  torch_export.from_torch(str(saved), str(tmp_path / "run"), bsm_110m.get_config())
  assert_identical(params_of(tmp_path / "run"), params_of(run))


def test_a_config_without_rope_parameters_is_read_as_transformers_4_writes_it(exported):
  found = json.loads((exported / "config.json").read_text())
  new = llama.from_config({key: value for key, value in found.items() if key != "rope_theta"})
  old = llama.from_config({key: value for key, value in found.items() if key != "rope_parameters"})
  assert new == old == llama.from_config(found)
  assert new["rope_theta"] == 100_000 and new["head_dim"] == 24


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "mistral"}, "model_type is 'mistral', not 'llama'"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "architectures is .'LlamaForSequenceClassification'"),
        ({"num_key_value_heads": 1}, "num_key_value_heads is 1, not 2"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', not 'silu'"),
        ({"vocab_size": 32_000}, "vocab_size is 32000, not 64"),
        ({"rope_theta": 5e5}, "rope_theta is 500000.0, not 100000.0"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 8.0}}, "rope_type is 'linear'.*\n.*rope factor is 8.0"),
        ({"quantization_config": {"bits": 4}}, "quantized"),
        ({"num_hidden_layers": None}, "num_hidden_layers is missing"),
        ({"head_dim": 23}, "head_dim must be even"),
        ({"num_hidden_layers": 3}, r"model.layers.2.\S+: missing, not \(64,\)"),
        ({"num_hidden_layers": 1}, r"model.layers.1.\S+: \(64,\), not a tensor of this model"),
        ({"intermediate_size": 96}, r"down_proj.weight: \(64, 80\), not \(64, 96\)"),
        ({"tie_word_embeddings": False}, "no tie_word_embeddings: true, and there is no lm_head.weight"),
    ],
)
def test_another_architecture_is_refused(copied, tmp_path, changes, said):
  change_json(copied / "config.json", **changes)
  with pytest.raises((LlamaError, FolderError, program.ConfigError), match=said):
    torch_export.from_torch(str(copied), str(tmp_path / "run"))
  assert [path.name for path in tmp_path.iterdir()] == ["copied"]


def test_a_head_that_is_the_embedding_is_accepted_and_another_is_not(run, copied, tmp_path):
  change_json(copied / "config.json", tie_word_embeddings=False)
  change_tensors(copied, lambda found: found.update({"lm_head.weight": found["model.embed_tokens.weight"].copy()}))
  torch_export.from_torch(str(copied), str(tmp_path / "run"))
  assert_identical(params_of(tmp_path / "run"), params_of(run))
  change_tensors(copied, lambda found: found["lm_head.weight"].__setitem__((3, 3), 1.0))
  with pytest.raises(FolderError, match="lm_head.weight is not the embedding"):
    torch_export.from_torch(str(copied), str(tmp_path / "another"))


def test_another_vocabulary_is_refused(copied, tmp_path):
  path = copied / "tokenizer.json"
  found = json.loads(path.read_text())
  found["model"]["vocab"] |= {"a": 9, "c": 8}
  path.write_text(json.dumps(found))
  with pytest.raises(FolderError, match="another vocabulary than ours: 2 entries differ, among them 'a', 'c'"):
    torch_export.from_torch(str(copied), str(tmp_path / "run"))


def test_damaged_and_missing_files_are_named(copied, exported_bf16, tmp_path):
  path = copied / "model.safetensors"
  path.write_bytes(path.read_bytes()[:-1000])
  with pytest.raises(FolderError, match="model.safetensors cannot be read .*copy it again"):
    torch_export.from_torch(str(copied), str(tmp_path / "run"))
  path.unlink()
  with pytest.raises(FolderError, match="neither model.safetensors nor .*Only safetensors are read"):
    torch_export.from_torch(str(copied), str(tmp_path / "run"))
  (copied / folder.INDEX).write_bytes((exported_bf16 / folder.INDEX).read_bytes())
  with pytest.raises(FolderError, match="lacks model-00001-of-.*copy them again"):
    torch_export.from_torch(str(copied), str(tmp_path / "run"))
  change_json(copied / folder.INDEX, weight_map={"model.norm.weight": "../elsewhere.safetensors"})
  with pytest.raises(FolderError, match="names files beside it"):
    torch_export.from_torch(str(copied), str(tmp_path / "run"))


def test_tensors_of_another_dtype_are_refused(copied, tmp_path):
  change_tensors(copied, lambda found: found.update({"model.norm.weight": found["model.norm.weight"].astype(np.int32)}))
  with pytest.raises(FolderError, match="model.norm.weight cannot be read: dtype int32"):
    torch_export.from_torch(str(copied), str(tmp_path / "run"))


# --- Slow: real hosts, real sizes

WRITE = """
import pathlib, sys
from tests.bsm_jax.sample_exports import small_config, write_run
write_run(pathlib.Path(sys.argv[1]), small_config(), (1, 8, 1))
"""


@pytest.mark.slow
def test_a_checkpoint_of_two_hosts_is_exported(run, tmp_path):
  with Hosts(python_source(WRITE, str(tmp_path / "run"), count=2), 2, 4) as hosts:
    results = hosts.wait(timeout=300)
  assert [result.returncode for result in results] == [0, 0], "\n---\n".join(r.output[-3000:] for r in results)
  torch_export.export(str(tmp_path / "run"), str(tmp_path / "model"))
  assert (tmp_path / "model" / folder.ABOUT).exists()


@pytest.mark.slow
@pytest.mark.parametrize("config", [bsm_110m, bsm_270m])
def test_the_paper_s_sizes_are_exported_and_come_back(config, tmp_path):
  settings = config.get_config()
  settings.data.batch_size = 8
  write_run(tmp_path / "run", settings)
  torch_export.export(str(tmp_path / "run"), str(tmp_path / "model"), max_shard_bytes=300_000_000)
  assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1
  torch_export.from_torch(str(tmp_path / "model"), str(tmp_path / "back"))
  assert_identical(params_of(tmp_path / "back"), params_of(tmp_path / "run"))
