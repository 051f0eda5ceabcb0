"""What the finders hand to the judge."""

import dataclasses
import enum


class Evidence(enum.IntEnum):
  """How much the text itself says that the letters are a sequence; see `WebConfig`."""

  BARE = 0
  NEAR = 1
  FRAMED = 2
  DECLARED = 3


@dataclasses.dataclass(frozen=True)
class Candidate:
  """Letters that may be one sequence.

  Attributes:
    pieces: where its letters stand in the text (start, end), in the order of the sequence.
    letters: the letters as written, without gaps, spaces and numbers; for `three_letter` the one-letter form.
    how: the layout in which it was found, see `FoundSequence`.
    nucleotides: whether the letters are to be judged as nucleotides or as residues; None: by themselves.
    evidence: what the layout itself says; None: the surroundings are still to be asked.
    code: why it is none, where the finder knows already, else "".
  """

  pieces: tuple[tuple[int, int], ...]
  letters: str
  how: str
  nucleotides: bool | None = None
  evidence: Evidence | None = None
  code: str = ""

  @property
  def start(self) -> int:
    return self.pieces[0][0]

  @property
  def end(self) -> int:
    return self.pieces[-1][1]
