"""What codes mean: reasons for dropping, and NCBI taxonomy ids."""

import functools
import importlib
import os
import pathlib
import re
from collections.abc import Collection, Mapping

from data_pipelines.errors import InputError
from data_pipelines.formats import compressed

_PACKAGE = pathlib.Path(__file__).parents[1]


def printable(text: str) -> str:
  """The text without characters that do something: control characters, also those that turn the direction of writing.

  Ids, URLs and file names come from files that anybody may have written; one that held an escape sequence could move
  the cursor of the terminal it is printed on.
  """
  return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@functools.cache
def _reasons() -> Mapping[str, Mapping[str, str]]:
  """Module to its `REASONS`, for every module of `data_pipelines` that has them; no other module is imported."""
  found = {}
  for path in sorted(_PACKAGE.rglob("*.py")):
    if re.search(r"^REASONS\b", path.read_text(encoding="utf-8"), re.MULTILINE):
      name = ".".join(path.relative_to(_PACKAGE).with_suffix("").parts)
      found[name] = importlib.import_module(f"{_PACKAGE.name}.{name}").REASONS
  return found


def meaning(code: str, stage: str = "") -> str:
  """One line about a reason code, "" where no module of `data_pipelines` explains it.

  Args:
    code: as in the metadata.
    stage: the module that is asked first (`views` for rows, the corpus for documents); a code may mean something
      else elsewhere.
  """
  known = _reasons()
  order = [stage, *(m for m in known if m != "views"), "views"]
  return next((known[m][code] for m in order if code in known.get(m, {})), "")


def read_taxonomy(path: str | os.PathLike, taxa: Collection[int]) -> dict[int, str]:
  """Scientific names from `names.dmp` of NCBI's taxdump, plain or gzip; ids that it lacks are left out.

  A line is `tax_id <tab>|<tab> name <tab>|<tab> unique name <tab>|<tab> name class <tab>|`
  (https://ftp.ncbi.nlm.nih.gov/pub/taxonomy/taxdump_readme.txt).

  Raises:
    InputError: the file cannot be read, or a line is no line of `names.dmp`.
  """
  wanted = {str(taxon).encode(): taxon for taxon in taxa}
  names = {}
  with compressed.open_binary(path) as file:
    for number, line in enumerate(file, 1):
      fields = line.rstrip(b"\n").removesuffix(b"\t|").split(b"\t|\t")
      if len(fields) != 4 or not fields[0].isdigit():
        raise InputError(
            path, "is no line of names.dmp: four fields between <tab>|<tab>, the first a number",
            "Give names.dmp of NCBI's taxdump", record=f"line {number}",
        )
      if fields[3] == b"scientific name" and fields[0] in wanted:
        names[wanted[fields[0]]] = fields[1].decode("utf-8", "replace")
  return names
