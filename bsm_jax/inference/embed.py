"""Features of sequences, for other models to learn from.

  python -m bsm_jax.inference.embed --checkpoint=RUN --input=genes.fasta --modality=dna --out=genes.npz [--pool=mean]

`--out=*.npz` holds `ids` [n] and `embeddings` fp32 [n, d_model], in the order of the input; with `--pool=residue` the
letters of all records one behind the other, [letters, d_model], and `offsets` [n + 1], where each record begins.
`--out=*.parquet` holds the columns `id` and `embedding`, a list, or a list of lists. Stop with Ctrl-C: the same command
goes on.
"""

import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl import app, flags
from etils import epath

from bsm_jax.inference import command_line, pieces
from bsm_jax.inference.documents import InputError
from bsm_jax.inference.embedding import POOLS, embeddings

# Batches between two results on disk; features of all letters fill a memory soon.
_BATCHES_A_PIECE = {"mean": 64, "last": 64, "residue": 4}


def write_piece(results: dict[str, np.ndarray], path: epath.Path) -> None:
  """A piece: `ids` [n], `lengths` [n] (0 where a record is one vector) and `embeddings`."""
  with path.open("wb") as file:
    np.savez(file, **results)


def _read(path: epath.Path) -> dict[str, np.ndarray]:
  with path.open("rb") as file:
    return dict(np.load(file))


def join_npz(paths: list[epath.Path], out: epath.Path) -> None:
  """Pieces to one .npz; the features are written piece by piece, never held at once."""
  heads = [{name: value for name, value in _read(path).items() if name != "embeddings"} for path in paths]
  ids, lengths = (np.concatenate([head[name] for head in heads]) for name in ("ids", "lengths"))
  by_letter = bool(lengths.any())
  first = _read(paths[0])["embeddings"]
  shape = (int(lengths.sum()) if by_letter else len(ids), first.shape[1])
  with out.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
    arrays = {"ids": ids} | ({"offsets": np.concatenate([[0], np.cumsum(lengths)])} if by_letter else {})
    for name, array in arrays.items():
      with archive.open(f"{name}.npy", "w") as member:
        np.lib.format.write_array(member, array)
    with archive.open("embeddings.npy", "w", force_zip64=True) as member:
      described = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False, "shape": shape}
      np.lib.format.write_array_header_2_0(member, described)
      for path in paths:
        member.write(_read(path)["embeddings"].tobytes())


def join_parquet(paths: list[epath.Path], out: epath.Path) -> None:
  """Pieces to one Parquet file, a row group each."""
  writer = None
  with out.open("wb") as file:
    for path in paths:
      piece = _read(path)
      vectors = pa.FixedSizeListArray.from_arrays(piece["embeddings"].reshape(-1), piece["embeddings"].shape[1])
      if piece["lengths"].any():
        offsets = np.concatenate([[0], np.cumsum(piece["lengths"])]).astype(np.int32)
        vectors = pa.ListArray.from_arrays(offsets, vectors)
      table = pa.table({"id": piece["ids"].tolist(), "embedding": vectors})
      writer = writer or pq.ParquetWriter(file, table.schema)
      writer.write_table(table)
    writer.close()


FORMATS = {".npz": join_npz, ".parquet": join_parquet}


def run() -> None:
  values = flags.FLAGS
  suffix = epath.Path(values.out).suffix
  if suffix not in FORMATS:
    raise InputError(f"--out={values.out}: the name must end in {' or '.join(FORMATS)}")
  model = command_line.model()
  _, _, total = command_line.survey(command_line.check_windows(model.context, values.cut))

  def work(piece, start, progress):
    found = embeddings(
        model, [record.document for record in piece], pool=values.pool, cut=values.cut, lenient=values.lenient,
        max_tokens_per_batch=values.max_tokens_per_batch, names=[record.name for record in piece], progress=progress,
    )  # fmt: skip
    by_letter = values.pool == "residue"
    return {
        "ids": np.array([record.name for record in piece]),
        "lengths": np.array([len(one) if by_letter else 0 for one in found]),
        "embeddings": np.concatenate(found) if by_letter else found,
    }

  count = pieces.run(
      command_line.read(), work, values.out, overwrite=values.overwrite, total=total,
      form=pieces.Format(".npz", write_piece, FORMATS[suffix]),
      about=command_line.about(model, ["pool", "cut"]),
      letters=_BATCHES_A_PIECE[values.pool] * (values.max_tokens_per_batch or model.tokens_per_batch),
  )  # fmt: skip
  print(f"{count:,} records embedded with step {model.step} of {model.name}: {values.out}")


if __name__ == "__main__":
  command_line.define("File to write (.npz or .parquet).")
  flags.mark_flag_as_required("input")
  flags.DEFINE_enum("pool", "mean", POOLS, "One vector a record: the mean of its letters or the last one's; or all.")
  flags.DEFINE_bool("cut", True, "Take what exceeds the context in overlapping windows; --nocut to stop at it.")
  app.run(command_line.main(run))
