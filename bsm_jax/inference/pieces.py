"""Work over long inputs, piece by piece: stopped at any time, the same command goes on behind the last finished piece.

While the work lasts, finished pieces and `about.json` (what was asked, of which input) lie in the folder `OUT.pieces`;
at the end they become OUT, and the folder goes.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tqdm
from etils import epath

from bsm_jax.inference.documents import InputError
from bsm_jax.inference.records import Record


@dataclasses.dataclass(frozen=True)
class Format:
  """What results look like on disk.

  Attributes:
    suffix: of a piece's file.
    write: of a piece's results, to a path.
    join: of the paths of all pieces, in order, to the path of the whole.
  """

  suffix: str
  write: Callable[[Any, epath.Path], None]
  join: Callable[[list[epath.Path], epath.Path], None]


def join_text(paths: list[epath.Path], out: epath.Path) -> None:
  """Texts one behind the other."""
  with out.open("wb") as file:
    for path in paths:
      file.write(path.read_bytes())


def letters_of(records: Iterable[Record]) -> int:
  """Letters of all sequences."""
  return sum(len(sequence) for record in records for _, sequence in record.document)


def _cut(records: Iterable[Record], letters: int) -> Iterator[list[Record]]:
  """Groups that follow each other, each with so many letters, or the one record that has more."""
  group, size = [], 0
  for record in records:
    group.append(record)
    size += 1 + letters_of([record])
    if size >= letters:
      yield group
      group, size = [], 0
  if group:
    yield group


def run(
    records: Iterable[Record],
    work: Callable[[list[Record], int, Callable[[int], object]], Any],
    out: str,
    *,
    form: Format,
    about: dict,
    letters: int,
    total: int,
    amount: Callable[[list[Record]], int] = letters_of,
    unit: str = "letters",
    overwrite: bool = False,
) -> int:
  """Works through records and writes the results.

  Args:
    records: all of them, those of finished pieces too.
    work: of a piece's records, the number of the first of them, and a function to call with what was done since.
    out: the file to write.
    form: its format.
    about: what the results depend on, as JSON takes it: another run goes on only with the same.
    letters: how many make a piece.
    total: how much there is to do, in the units of `amount` and of what `work` reports.
    amount: of some records.
    unit: its name.
    overwrite: whether a file that is there may be replaced.

  Returns:
    how many records there were.

  Raises:
    InputError: the file is there, or pieces of other work; or what `records` and `work` raise.
  """
  target = epath.Path(out)
  if target.exists() and not overwrite:
    raise InputError(f"{out} exists: give another --out, or --overwrite")
  folder = target.parent / f"{target.name}.pieces"
  # Where one piece ends and the next begins is a part of what was asked: other devices may suit other sizes.
  about = json.loads(json.dumps(about | {"letters_a_piece": letters}))
  said = folder / "about.json"
  if said.exists():
    before = json.loads(said.read_text())
    changed = [f"  {k}: {before.get(k)!r} then, {about.get(k)!r} now" for k in sorted(before.keys() | about.keys())
               if before.get(k) != about.get(k)]  # fmt: skip
    if changed:
      raise InputError(f"{folder} holds unfinished work of another command:\n" + "\n".join(changed) + "\nGive that one"
                       " again, delete the folder, or give another --out.")
  else:
    folder.mkdir(parents=True, exist_ok=True)
    _put(said, lambda path: path.write_text(json.dumps(about, indent=2) + "\n"))
  finished, count = [], 0
  with tqdm.tqdm(total=total, unit=f" {unit}", unit_scale=True, disable=None) as bar:
    for number, piece in enumerate(_cut(records, letters)):
      path = folder / f"{number:06d}{form.suffix}"
      if path.exists():
        bar.update(amount(piece))
      else:
        results = work(piece, count, bar.update)
        _put(path, lambda unfinished: form.write(results, unfinished))  # noqa: B023
      finished.append(path)
      count += len(piece)
  _put(target, lambda unfinished: form.join(finished, unfinished))
  folder.rmtree()
  return count


def _put(path: epath.Path, write: Callable[[epath.Path], None]) -> None:
  """Writes a file that is either whole or not there."""
  unfinished = path.parent / f"unfinished.{path.name}"
  write(unfinished)
  unfinished.replace(path)
