"""UniProtKB and UniRef, current release, verified by the size and MD5 in the `RELEASE.metalink` beside each file.

Metalink 3 (http://www.metalinker.org/): `<file name=…><size>…</size><verification><hash type="md5">…`. That every one
of these folders has such a file is from memory for `knowledgebase/complete` (unverified).
"""

import xml.etree.ElementTree

from data_pipelines.downloads.catalogue import Catalogue
from data_pipelines.downloads.client import DownloadError
from data_pipelines.downloads.files import Plan, RemoteFile

LICENCE = "CC BY 4.0: UniProt Consortium (https://www.uniprot.org/help/license)"
SWISSPROT = "current_release/knowledgebase/complete/uniprot_sprot.fasta.gz"
TREMBL = "current_release/knowledgebase/complete/uniprot_trembl.fasta.gz"
UNIREF = "current_release/uniref/uniref{0}/uniref{0}.fasta.gz"


def parse_metalink(text: str) -> dict[str, tuple[int, str]]:
  """File name to (bytes, MD5) of every file that has both, whatever the version's XML namespace.

  Raises:
    ValueError: it is no XML, declares entities of its own, or a size is no number.
  """
  if "<!DOCTYPE" in text or "<!ENTITY" in text:
    raise ValueError("it declares entities")
  try:
    root = xml.etree.ElementTree.fromstring(text)
  except xml.etree.ElementTree.ParseError as error:
    raise ValueError(str(error)) from None
  files = {}
  for file in root.iterfind(".//{*}file"):
    size = file.find("{*}size")
    digest = next((h for h in file.iterfind(".//{*}hash") if h.get("type") == "md5"), None)
    if size is not None and digest is not None:
      files[file.get("name", "")] = (int(size.text or ""), (digest.text or "").strip().lower())
  return files


def plan_file(catalogue: Catalogue, path: str) -> Plan:
  """One file of the release and its checksum."""
  folder, name = path.rsplit("/", 1)
  metalink = f"{folder}/RELEASE.metalink"
  try:
    listed = parse_metalink(catalogue.text("uniprot", metalink))
  except ValueError as error:
    problem = f"cannot be read ({error})"
    raise DownloadError(catalogue.url("uniprot", metalink), problem, "Look at it in a browser.") from None
  if name not in listed:
    raise DownloadError(catalogue.url("uniprot", metalink), f"does not list {name}", "See what the folder holds.")
  size, md5 = listed[name]
  url = catalogue.url("uniprot", path)
  return Plan([RemoteFile(url, name, LICENCE, size=size, checksum=f"md5:{md5}")])
