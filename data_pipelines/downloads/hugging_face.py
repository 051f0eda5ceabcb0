"""Data sets of the Hugging Face Hub: a folder's parquet files, of one revision, with size and sha256.

`/api/datasets/REPO/revision/main` gives the commit (`sha`), `/api/datasets/REPO/tree/COMMIT/FOLDER?recursive=true`
pages of `{"type": "file", "path", "size", "lfs": {"oid": sha256, "size"}}`, `/datasets/REPO/resolve/COMMIT/PATH` the
file, by way of a redirect (as the `huggingface_hub` library does it).
"""

import re

from data_pipelines.downloads.catalogue import Catalogue
from data_pipelines.downloads.client import DownloadError
from data_pipelines.downloads.files import Plan, RemoteFile

FINEWEB_EDU = "HuggingFaceFW/fineweb-edu"
FINEWEB_LICENCE = "ODC-By 1.0: Hugging Face; Common Crawl's terms of use apply as well"


def plan_parquet(catalogue: Catalogue, repository: str, folder: str, licence: str) -> Plan:
  """The parquet files under a folder of a repository's main branch as it is now.

  They go to their paths without the first folder, which is `data` or `sample`: `CC-MAIN-2024-10/000_00000.parquet`.
  """
  api = f"api/datasets/{repository}"
  revision = catalogue.json_pages("huggingface", f"{api}/revision/main")[0]
  commit = revision.get("sha") if isinstance(revision, dict) else None
  if not isinstance(commit, str) or not re.fullmatch("[0-9a-f]{40}", commit):
    raise DownloadError(catalogue.url("huggingface", api), "names no commit", "The interface may have changed.")
  tree = f"{api}/tree/{commit}/{folder.strip('/')}?recursive=true"
  address = catalogue.url("huggingface", tree)
  files = []
  try:
    for entry in (entry for page in catalogue.json_pages("huggingface", tree) for entry in page):
      if entry["type"] == "file" and entry["path"].endswith(".parquet"):
        files.append(RemoteFile(
            catalogue.url("huggingface", f"datasets/{repository}/resolve/{commit}/{entry['path']}"),
            entry["path"].partition("/")[2], licence, size=entry["lfs"]["size"],
            checksum=f"sha256:{entry['lfs']['oid']}",
        ))
  except (TypeError, KeyError, AttributeError) as error:
    problem = f"lists files otherwise than expected ({error!r})"
    raise DownloadError(address, problem, "The interface may have changed.") from None
  if not files:
    raise DownloadError(address, "holds no parquet files", "Name a folder that does, such as --subset=sample/10BT.")
  files.sort(key=lambda file: file.path)
  return Plan(files, [f"{repository} at commit {commit}"])
