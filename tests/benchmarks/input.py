"""Tokens a second that one core brings from ArrayRecord shards onto devices; run by hand.

  python -m tests.benchmarks.input                            # rows made for it
  python -m tests.benchmarks.input --root=ROWS --row_sets=single_dna,refseq_pairs_whole --context=1024

Compared in turns, on the same documents:
  rows        ours: `loader.TrainBatches` over rows that were packed when the corpora were built
  rows, host  the same without the transfer to devices
  documents   Grain's own first-fit packing of documents while training reads them, with segment ids and positions

Printed are tokens a second of wall clock and of processor time (all threads), medians over the turns, and how many
times the 0.4M tokens a second that a host with four TPUs takes (design figure for the 110M model) one core gives.
"""

import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator

import grain
import jax
import numpy as np
from absl import app, flags

from bsm_jax import sharding, tokenizer
from bsm_jax.input import loader, mixture
from data_pipelines import pack
from tests.bsm_jax.sample_rows import write_packed

NEEDED = 0.4e6
BATCH = 64


def random_documents(tokens: int, context: int) -> list[np.ndarray]:
  """DNA of 20 letters up to the context, log-uniform, as many as make so many tokens."""
  rng, found, total = np.random.default_rng(0), [], 0
  letters = np.frombuffer(b"acgt", np.uint8)
  while total < tokens:
    length = int(np.exp(rng.uniform(np.log(20), np.log(context - 4))))
    text = rng.choice(letters, length).tobytes().decode()
    found.append(tokenizer.encode_document([(tokenizer.Modality.DNA, text)]))
    total += len(found[-1])
  return found


def from_rows(root: str, row_sets: list[str], context: int, *, to_devices: bool) -> Callable[[], Iterator[int]]:
  """Makes iterators that yield the tokens of each batch brought."""
  place = sharding.batch_sharding(sharding.make_mesh((-1, 1, 1)))

  def batches() -> Iterator[int]:
    rounds = [mixture.RoundRows(1 << 20, dict.fromkeys(row_sets, 1.0))]
    stream = mixture.MixtureInput(root, rounds, seed=0, context=context)
    if to_devices:
      ready = loader.TrainBatches(stream, BATCH, place)
      for batch in ready:
        yield jax.block_until_ready(batch)["tokens"].size
      ready.close()
    else:
      for batch in stream.dataset.batch(BATCH).to_iter_dataset(grain.ReadOptions(num_threads=2)):
        yield batch["tokens"].size

  return batches


def from_documents(documents: list[np.ndarray], context: int) -> Callable[[], Iterator[int]]:
  """The same documents, packed on the way."""
  place = sharding.batch_sharding(sharding.make_mesh((-1, 1, 1)))

  def batches() -> Iterator[int]:
    source = grain.MapDataset.source(documents).shuffle(seed=0).repeat().map(lambda tokens: {"tokens": tokens})
    packed = grain.experimental.FirstFitPackIterDataset(
        source.to_iter_dataset(grain.ReadOptions(num_threads=2)), length_struct={"tokens": context},
        num_packing_bins=BATCH,
    )  # fmt: skip
    for batch in packed.batch(BATCH):
      yield jax.block_until_ready(jax.device_put(batch["tokens"], place)).size

  return batches


def measure(batches: Callable[[], Iterator[int]], seconds: float) -> tuple[float, float]:
  """Tokens a second: of wall clock, of processor time."""
  running = batches()
  for _ in range(4):
    next(running)
  start, tokens = (time.perf_counter(), time.process_time()), 0
  while time.perf_counter() - start[0] < seconds:
    tokens += next(running)
  found = tokens / (time.perf_counter() - start[0]), tokens / (time.process_time() - start[1])
  running.close()
  return found


def main(argv: list[str]) -> None:
  del argv
  args = flags.FLAGS
  with tempfile.TemporaryDirectory() as folder:
    documents = random_documents(args.tokens, args.context)
    root, row_sets = args.root, args.row_sets
    if root is None:
      root, row_sets = folder, ["rows"]
      write_packed(pathlib.Path(folder), "rows", {"train": pack.pack(documents, args.context)}, args.context)
    sides = {
        "rows": from_rows(root, row_sets, args.context, to_devices=True),
        "rows, host": from_rows(root, row_sets, args.context, to_devices=False),
        "documents": from_documents(documents, args.context),
    }
    found = {name: [] for name in sides}
    for _ in range(args.turns):
      for name, side in sides.items():
        found[name].append(measure(side, args.seconds))
  medians = {name: [statistics.median(values) for values in zip(*turns)] for name, turns in found.items()}
  for name, (wall, core) in medians.items():
    ratio = core / medians["documents"][1]
    print(
        f"{name:<12} {wall / 1e6:7.2f}M tokens/s, {core / 1e6:7.2f}M a core ({core / NEEDED:5.1f} x what a host with"
        f" four TPUs takes; {ratio:5.1f} x documents)"
    )


if __name__ == "__main__":
  flags.DEFINE_string("root", None, "Folder of row sets; made for the occasion by default.")
  flags.DEFINE_list("row_sets", [], "Row sets in it.")
  flags.DEFINE_integer("context", 1024, "Tokens in a row.", lower_bound=64)
  flags.DEFINE_integer("tokens", 1 << 25, "Tokens of the documents that are made.", lower_bound=1 << 20)
  flags.DEFINE_integer("turns", 5, "Of timing.", lower_bound=1)
  flags.DEFINE_float("seconds", 3.0, "That one side's part of a turn takes.", lower_bound=0.1)
  jax.config.update("jax_platforms", "cpu")
  app.run(main)
