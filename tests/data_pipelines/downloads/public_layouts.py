"""Lays small releases out on a local server as NCBI, UniProt and the Hugging Face Hub do."""

import hashlib
import json
import pathlib

from tests.data_pipelines.downloads.flaky_server import Server

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DATASET = "HuggingFaceFW/fineweb-edu"
SUMMARIES = "/genomes/ASSEMBLY_REPORTS/assembly_summary_{}.txt"
# The columns that the pipeline reads, in NCBI's order, some others among them left out.
COLUMNS = ("assembly_accession", "refseq_category", "taxid", "species_taxid", "organism_name", "version_status",
           "assembly_level", "seq_rel_date", "asm_name", "ftp_path", "annotation_provider")


def folder_of(directory: str) -> str:
  """`/genomes/all/GCF/000/005/845/GCF_000005845.2_ASM584v2` of that directory name."""
  return "/genomes/all/" + "/".join([directory[:3], directory[4:7], directory[7:10], directory[10:13], directory])


def add_release(server: Server, release: pathlib.Path) -> None:
  """A release of `data_pipelines.miniature` in NCBI's tree."""
  for folder in release.glob("GC*"):
    server.add_folder(folder, folder_of(folder.name))
  server.add(SUMMARIES.format("refseq"), (release / "assembly_summary_refseq.txt").read_bytes())


def add_assembly(server: Server, directory: str, contents: tuple[str, ...]) -> None:
  """An assembly whose files hold nothing but their names."""
  folder, listed = folder_of(directory), []
  for content in contents:
    name = f"{directory}_{content}"
    server.add(f"{folder}/{name}", name)
    listed.append(f"{hashlib.md5(name.encode()).hexdigest()}  ./{name}\n")
  listed.append(f"{'0' * 32}  ./{directory}_assembly_structure/all_assembly_versions.txt\n")
  server.add(f"{folder}/md5checksums.txt", "".join(listed))


def summary(*assemblies: dict[str, str]) -> str:
  """An assembly summary; each assembly needs `directory` and `organism_name`."""
  lines = ["##   See README_assembly_summary.txt for a description of the columns in this file.",
           "#" + "\t".join(COLUMNS)]
  for given in assemblies:
    accession, name = given["directory"].rsplit("_", 1)
    values = {
        "assembly_accession": accession, "refseq_category": "na", "taxid": "1", "species_taxid": "1",
        "version_status": "latest", "assembly_level": "Contig", "seq_rel_date": "2020/01/01", "asm_name": name,
        "ftp_path": f"https://ftp.ncbi.nlm.nih.gov{folder_of(given['directory'])}", "annotation_provider": "na",
    } | given
    lines.append("\t".join(values[column] for column in COLUMNS))
  return "\n".join(lines) + "\n"


def add_uniprot(server: Server, path: str, content: bytes, *, md5: str | None = None) -> None:
  """A file of UniProt's tree with the metalink beside it."""
  folder, name = path.rsplit("/", 1)
  server.add(f"/{path}", content)
  server.add(f"/{folder}/RELEASE.metalink", f"""<?xml version="1.0" encoding="UTF-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" type="dynamic">
  <publisher><name>UniProt</name></publisher>
  <files>
    <file name="README"><size>10</size></file>
    <file name="{name}">
      <size>{len(content)}</size>
      <verification><hash type="md5">{md5 or hashlib.md5(content).hexdigest()}</hash></verification>
      <resources><url type="ftp" location="ch">ftp://example.org/{name}</url></resources>
    </file>
  </files>
</metalink>""")


def add_parquet(server: Server, folder: str, names: tuple[str, ...], *, page: int = 2) -> None:
  """Parquet files of a Hub repository, listed in pages that link to each other, each behind a redirect."""
  server.add(f"/api/datasets/{DATASET}/revision/main", json.dumps({"id": DATASET, "sha": COMMIT}))
  entries = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": folder}]
  for name in names:
    content = name.encode() * 100
    path = f"{folder}/{name}"
    entries.append({
        "type": "file", "oid": "0" * 40, "size": len(content), "path": path,
        "lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 135},
    })
    server.add(f"/cdn/{path}", content)
    server.add(f"/datasets/{DATASET}/resolve/{COMMIT}/{path}", b"", redirect_to=f"/cdn/{path}")
  entries.append({"type": "file", "oid": "0" * 40, "size": 3, "path": f"{folder}/README.md"})
  tree = f"/api/datasets/{DATASET}/tree/{COMMIT}/{folder}?recursive=true"
  for start in range(0, len(entries), page):
    link = {}
    if start + page < len(entries):
      link["Link"] = f'<https://huggingface.co{tree}&cursor={start + page}>; rel="next"'
    query = f"&cursor={start}" if start else ""
    server.add(tree + query, json.dumps(entries[start : start + page]), headers=link)


def add_hub_files(server: Server, repository: str, names: tuple[str, ...]) -> None:
  """Small tables of a Hub repository; .csv files are in Git LFS, as they are there beyond some size."""
  server.add(f"/api/datasets/{repository}/revision/main", json.dumps({"id": repository, "sha": COMMIT}))
  entries = []
  for name in names:
    content = name.encode()
    large = {"lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}} if name.endswith(".csv") else {}
    entries.append({"type": "file", "oid": "0" * 40, "size": len(content), "path": name} | large)
    server.add(f"/datasets/{repository}/resolve/{COMMIT}/{name}", content)
  server.add(f"/api/datasets/{repository}/tree/{COMMIT}?recursive=true", json.dumps(entries))
