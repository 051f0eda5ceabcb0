"""NCBI's other releases: tables of NCBI Gene, the RefSeq release, GenBank's flat files.

`refseq/release/release-catalog/releaseN.files.installed` has two tab-separated columns, MD5 and file name (its README;
a CRC before December 2022). From memory (unverified): that N stands in `refseq/release/RELEASE_NUMBER`, names such as
`complete.1.rna.fna.gz` beside `complete.1.1.genomic.fna.gz`, GenBank's `gbpri1.seq.gz`, and that neither GenBank's
folder nor `gene/DATA` has checksums.
"""

import re

from data_pipelines.downloads.catalogue import Catalogue, Options
from data_pipelines.downloads.client import DownloadError
from data_pipelines.downloads.files import Plan, RemoteFile
from data_pipelines.downloads.ncbi_assemblies import LICENCE
from data_pipelines.errors import InputError

_GENE_TABLES = ("gene2accession.gz", "gene2refseq.gz", "gene_refseq_uniprotkb_collab.gz")
_NUCLEOTIDES = re.compile(r"complete\.[\d.]+\.(genomic|rna)\.fna\.gz")


def plan_gene_tables(catalogue: Catalogue, options: Options) -> Plan:
  del options
  files = [
      RemoteFile(catalogue.url("ncbi", f"gene/DATA/{name}"), name, LICENCE) for name in _GENE_TABLES
  ]
  return Plan(files, ["NCBI renews these tables every day and publishes no checksums: sizes are checked"])


def plan_refseq_release(catalogue: Catalogue, options: Options) -> Plan:
  del options
  release = catalogue.text("ncbi", "refseq/release/RELEASE_NUMBER").strip()
  if not release.isdigit():
    raise DownloadError(catalogue.url("ncbi", "refseq/release/RELEASE_NUMBER"), "is no number", "Check --base_url.")
  installed = f"refseq/release/release-catalog/release{release}.files.installed"
  lines = [line.split("\t") for line in catalogue.text("ncbi", installed).splitlines()]
  checksums = {fields[1]: fields[0] for fields in lines if len(fields) == 2 and _NUCLEOTIDES.fullmatch(fields[1])}
  if not checksums:
    raise DownloadError(catalogue.url("ncbi", installed), "lists no nucleotide files", "Its format may have changed.")
  # Tens of thousands of files: their sizes come from one listing, rounded, not from as many requests.
  sizes = {e.name: e.approximate_size for e in catalogue.folder("ncbi", "refseq/release/complete")}
  files = [
      RemoteFile(
          catalogue.url("ncbi", f"refseq/release/complete/{name}"), name, LICENCE,
          approximate_size=sizes.get(name), checksum=f"md5:{digest}",
      )
      for name, digest in checksums.items()
  ]
  return Plan(files, [f"RefSeq release {release}"])


def plan_genbank(catalogue: Catalogue, options: Options) -> Plan:
  names = re.compile(rf"gb({'|'.join(map(re.escape, options.divisions))})\d+\.seq\.gz")
  found = [(e, match[1]) for e in catalogue.folder("ncbi", "genbank") if (match := names.fullmatch(e.name))]
  if missing := set(options.divisions) - {division for _, division in found}:
    problem = f"GenBank has no {', '.join(sorted(missing))}"
    raise InputError("--divisions", problem, "They look like pri, rod, mam, pln.")
  files = [
      RemoteFile(
          catalogue.url("ncbi", f"genbank/{e.name}"), e.name, LICENCE, approximate_size=e.approximate_size
      )
      for e, _ in found
  ]
  return Plan(files, ["GenBank publishes no checksums for its flat files: sizes are checked"])
