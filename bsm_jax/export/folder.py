"""What lies in a Hugging Face folder: tensors in safetensors files, config, tokenizer; and folders written as a whole.

  config.json, generation_config.json        `llama.to_config`, ids of the special tokens
  model.safetensors, or model-0000i-of-0000n.safetensors with model.safetensors.index.json
  tokenizer.json, tokenizer_config.json, special_tokens_map.json    `tokenizer.write_hugging_face`
  bsm_jax.json                               ours: the run's config, step and counts, for the way back
  README.md                                  `card`
"""

import contextlib
import itertools
import json
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from bsm_jax import tokenizer
from bsm_jax.export import llama
from bsm_jax.model import ModelConfig

TENSORS, INDEX, ABOUT = "model.safetensors", "model.safetensors.index.json", "bsm_jax.json"


class FolderError(ValueError):
  """A folder that cannot be read or written as it is; the message names the file and the remedy."""


def write_json(path: pathlib.Path, value) -> None:
  path.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path: pathlib.Path) -> dict:
  """An object of JSON. Raises FolderError if it is not there or no such object."""
  try:
    found = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise FolderError(f"{path} cannot be read: {error}") from error
  if not isinstance(found, dict):
    raise FolderError(f"{path} holds no JSON object")
  return found


# --- Folders


@contextlib.contextmanager
def as_a_whole(out: str | os.PathLike, *, overwrite: bool = False) -> Iterator[pathlib.Path]:
  """A new folder beside `out` that takes its name when the `with` ends, and is removed when it fails.

  Args:
    out: absent, or an empty folder.
    overwrite: it may also be an export, which stays as it is until the new one takes its place.

  Raises:
    FolderError: it is neither, or no local path.
  """
  if "://" in str(out):
    raise FolderError(f"--out={out}: give a local folder, and copy it to the bucket when it is complete")
  out = pathlib.Path(out).resolve()
  partial, old = (out.with_name(f".{out.name}.{what}") for what in ("partial", "old"))
  if old.exists() and not out.exists():  # Killed between the two renames below.
    old.rename(out)
  occupied = out.exists() and not (out.is_dir() and not any(out.iterdir()))
  if occupied and not overwrite:
    raise FolderError(f"{out} exists and is not empty: give another --out, or --overwrite to replace an export")
  if occupied and not (out / ABOUT).is_file():
    raise FolderError(f"{out} is no export (it has no {ABOUT}), so --overwrite does not replace it: give another --out")
  for left_behind in (partial, old):  # by one that was killed
    shutil.rmtree(left_behind, ignore_errors=True)
  partial.mkdir(parents=True)
  try:
    yield partial
    if occupied:
      out.rename(old)
    partial.rename(out)
  finally:
    shutil.rmtree(partial, ignore_errors=True)
    if old.exists() and not out.exists():
      old.rename(out)
    shutil.rmtree(old, ignore_errors=True)


# --- Tensors


def cut(sizes: Mapping[str, int], max_bytes: int) -> list[list[str]]:
  """Names in their order, cut into files of at most `max_bytes`; a larger tensor has a file for itself."""
  files, room = [[]], max_bytes
  for name, size in sizes.items():
    if files[-1] and size > room:
      files.append([])
      room = max_bytes
    files[-1].append(name)
    room -= size
  return files


def write_tensors(
    folder: pathlib.Path, config: ModelConfig, read: Callable[[str], Mapping], dtype: np.dtype, max_shard_bytes: int,
    more: Mapping[str, np.ndarray] | None = None,
) -> list[str]:
  """Writes a model's tensors, one file after the other: no more than a file and a layer are in memory.

  Args:
    folder: where.
    config: the shape.
    read: gives each of `llama.parts` as a tree of arrays.
    dtype: what the tensors are rounded to.
    max_shard_bytes: of a file.
    more: tensors by name, which come last.

  Returns:
    the files' names.
  """
  from safetensors.numpy import save_file  # Of the extra [export].

  more = more or {}
  shapes = {name: shape for part in llama.tensor_shapes(config).values() for name, shape in part.items()}
  shapes |= {name: tensor.shape for name, tensor in more.items()}
  sizes = {name: math.prod(shape) * dtype.itemsize for name, shape in shapes.items()}
  cuts = cut(sizes, max_shard_bytes)
  files = [TENSORS] if len(cuts) == 1 else [
      f"model-{number:05d}-of-{len(cuts):05d}.safetensors" for number in range(1, len(cuts) + 1)
  ]  # fmt: skip
  waiting, unwritten = {}, list(zip(files, cuts))
  parts = (llama.tensors(read(part), config) for part in llama.parts(config))
  for part in itertools.chain(parts, [more]):
    for name, tensor in part.items():
      waiting[name] = np.ascontiguousarray(np.asarray(tensor).astype(dtype, copy=False))
    while unwritten and waiting.keys() >= set(unwritten[0][1]):
      file, names = unwritten.pop(0)
      # transformers 4 reads no file that does not say what wrote it.
      save_file({name: waiting.pop(name) for name in names}, folder / file, metadata={"format": "pt"})
      (folder / file).chmod(0o666 & ~_umask())  # The library makes files that only their owner can read.
  if len(files) > 1:
    weight_map = {name: file for file, names in zip(files, cuts) for name in names}
    write_json(folder / INDEX, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map})
  return files


def _umask() -> int:
  mask = os.umask(0)
  os.umask(mask)
  return mask


@contextlib.contextmanager
def open_tensors(folder: pathlib.Path, config: ModelConfig) -> Iterator[Callable[[str], dict]]:
  """Opens a folder's tensors: gives `read(part) -> tree`, fp32 arrays of one of `llama.parts`.

  Raises:
    FolderError: files are missing or damaged, or hold other tensors than the config says; or a head is not tied.
  """
  try:
    from safetensors import SafetensorError, safe_open
  except ModuleNotFoundError as error:
    raise FolderError(f"reading safetensors needs more packages ({error}): pip install -e '.[export]'") from error

  shapes = llama.tensor_shapes(config)
  expected = {name: shape for part in shapes.values() for name, shape in part.items()}
  with contextlib.ExitStack() as stack:
    where = {}  # tensor -> its file, opened
    try:
      for file in _tensor_files(folder):
        opened = stack.enter_context(safe_open(folder / file, framework="numpy"))
        where |= dict.fromkeys(opened.keys(), opened)
      found = {name: tuple(opened.get_slice(name).get_shape()) for name, opened in where.items()}
    except (SafetensorError, OSError) as error:
      raise FolderError(f"{folder / file} cannot be read ({error}): copy it again") from error
    head = found.pop(llama.LM_HEAD, None)
    if wrong := [
        f"{name}: {found.get(name, 'missing')}, not {expected.get(name, 'a tensor of this model')}"
        for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name)
    ]:  # fmt: skip
      more = [f"and {len(wrong) - 10} more"] if len(wrong) > 10 else []
      raise FolderError("\n  ".join([f"{folder}: its tensors are not those of config.json:", *wrong[:10], *more]))

    def tensor(name: str) -> np.ndarray:
      try:
        return llama.widen(where[name].get_tensor(name))
      except (SafetensorError, llama.LlamaError, TypeError) as error:
        raise FolderError(f"{folder}: tensor {name} cannot be read: {error}") from error

    if head and not np.array_equal(tensor(llama.LM_HEAD), tensor("model.embed_tokens.weight")):
      raise FolderError(f"{folder}: {llama.LM_HEAD} is not the embedding. Our model has one matrix for both, so this"
                        " one cannot become a checkpoint of ours.")
    if not head and not read_json(folder / "config.json").get("tie_word_embeddings", False):
      raise FolderError(f"{folder}: config.json has no tie_word_embeddings: true, and there is no {llama.LM_HEAD}")
    yield lambda part: llama.parameters({name: tensor(name) for name in shapes[part]}, part, config)


def _tensor_files(folder: pathlib.Path) -> list[str]:
  """The files with a folder's tensors, all of them there."""
  if not (folder / INDEX).exists():
    if not (folder / TENSORS).exists():
      raise FolderError(f"{folder} has neither {TENSORS} nor {INDEX}. Only safetensors are read: models in other"
                        " formats are saved anew by `model.save_pretrained(DIR)` of transformers.")
    return [TENSORS]
  weight_map = read_json(folder / INDEX).get("weight_map")
  files = sorted(set(weight_map.values())) if isinstance(weight_map, dict) else []
  if not files or any(pathlib.Path(file).name != file for file in files):
    raise FolderError(f"{folder / INDEX} has no weight_map that names files beside it")
  if missing := [file for file in files if not (folder / file).is_file()]:
    raise FolderError(f"{folder} lacks {', '.join(missing)}, of which {INDEX} speaks: copy them again")
  return files


# --- Everything else


def check_vocabulary(folder: pathlib.Path) -> None:
  """Raises FolderError if `tokenizer.json` does not hold our vocabulary under the same ids."""
  path = folder / "tokenizer.json"
  found = read_json(path)
  try:
    ids = {**found["model"]["vocab"], **{token["content"]: token["id"] for token in found.get("added_tokens") or []}}
  except (KeyError, TypeError) as error:
    raise FolderError(f"{path} holds no vocabulary of tokens and ids ({error!r})") from error
  ours = {token: number for number, token in enumerate(tokenizer.VOCABULARY)}
  if ids != ours:
    differing = sorted(token for token in ids.keys() | ours.keys() if ids.get(token) != ours.get(token))
    raise FolderError(f"{path} has another vocabulary than ours: {len(differing)} entries differ, among them"
                      f" {', '.join(map(repr, differing[:5]))}. Its embedding means other letters.")


def write_generation_config(folder: pathlib.Path) -> None:
  """What `generate` begins, pads and stops with."""
  ids = {"bos_token_id": tokenizer.BOS, "eos_token_id": tokenizer.EOS, "pad_token_id": tokenizer.PAD}
  write_json(folder / "generation_config.json", ids)
