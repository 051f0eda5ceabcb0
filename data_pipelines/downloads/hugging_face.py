"""Data sets of the Hugging Face Hub: files of one revision, with size and sha256.

`/api/datasets/REPO/revision/main` gives the commit (`sha`), `/api/datasets/REPO/tree/COMMIT/FOLDER?recursive=true`
pages of `{"type": "file", "path", "size", "lfs": {"oid": sha256, "size"}}`, small files without `lfs`, and
`/datasets/REPO/resolve/COMMIT/PATH` the file, by way of a redirect (as the `huggingface_hub` library does it).
"""

import re
from collections.abc import Callable

from data_pipelines.downloads.catalogue import Catalogue
from data_pipelines.downloads.client import DownloadError
from data_pipelines.downloads.contents import Contents
from data_pipelines.downloads.files import Plan, RemoteFile

FINEWEB_EDU = "HuggingFaceFW/fineweb-edu"
FINEWEB_LICENCE = "ODC-By 1.0: Hugging Face; Common Crawl's terms of use apply as well"


def plan_parquet(catalogue: Catalogue, repository: str, folder: str, licence: str) -> Plan:
  """The parquet files under a folder of a repository's main branch as it is now.

  They go to their paths without the first folder, which is `data` or `sample`: `CC-MAIN-2024-10/000_00000.parquet`.
  """
  place = lambda path: path.partition("/")[2] if path.endswith(".parquet") else None
  plan = plan_files(catalogue, repository, folder, licence, place)
  plan.files.sort(key=lambda file: file.path)
  return plan


def plan_files(
    catalogue: Catalogue, repository: str, folder: str, licence: str, place: Callable[[str], str | None],
    contents: Callable[[str], Contents | None] = lambda path: None,
) -> Plan:
  """Files of a repository's main branch as it is now, with the sha256 of those that are in Git LFS.

  Args:
    catalogue: to ask with.
    repository: `OWNER/NAME` of a data set.
    folder: whose files are looked through; empty for all.
    licence: of the files.
    place: from a path in the repository to where the file goes, None for files that are not wanted.
    contents: what is known of a file, by where it goes.

  Raises:
    DownloadError: there is no such file, or the interface answers otherwise than expected.
  """
  api = f"api/datasets/{repository}"
  revision = catalogue.json_pages("huggingface", f"{api}/revision/main")[0]
  commit = revision.get("sha") if isinstance(revision, dict) else None
  if not isinstance(commit, str) or not re.fullmatch("[0-9a-f]{40}", commit):
    raise DownloadError(catalogue.url("huggingface", api), "names no commit", "The interface may have changed.")
  tree = "/".join(filter(None, [f"{api}/tree/{commit}", folder.strip("/")])) + "?recursive=true"
  address = catalogue.url("huggingface", tree)
  files = []
  try:
    for entry in (entry for page in catalogue.json_pages("huggingface", tree) for entry in page):
      if entry["type"] == "file" and (path := place(entry["path"])) is not None:
        large = entry.get("lfs")
        files.append(RemoteFile(
            catalogue.url("huggingface", f"datasets/{repository}/resolve/{commit}/{entry['path']}"), path, licence,
            size=large["size"] if large else entry["size"], checksum=f"sha256:{large['oid']}" if large else None,
            contents=contents(path),
        ))
  except (TypeError, KeyError, AttributeError) as error:
    problem = f"lists files otherwise than expected ({error!r})"
    raise DownloadError(address, problem, "The interface may have changed.") from None
  if not files:
    remedy = "Look at it in a browser: it may have been rearranged, or --subset names another folder."
    raise DownloadError(address, "holds no such files", remedy)
  return Plan(files, [f"{repository} at commit {commit}"])
