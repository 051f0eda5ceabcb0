"""Which files a release comes to: listings in their owners' formats to plans, and what is wrong with a listing."""

import hashlib
import re

import hypothesis
import hypothesis.strategies as st
import pytest

from data_pipelines.downloads import ncbi_assemblies
from data_pipelines.downloads.catalogue import HOSTS, Catalogue, Options, parse_folder_listing
from data_pipelines.downloads.client import Client, DownloadError, Patience
from data_pipelines.downloads.releases import BSM_SPECIES, MODEL_ORGANISMS, RELEASES
from data_pipelines.downloads.uniprot import parse_metalink
from data_pipelines.errors import InputError
from tests.data_pipelines.downloads import flaky_server as flaky
from tests.data_pipelines.downloads import public_layouts as layouts

ANNOTATED = ("genomic.fna.gz", "genomic.gff.gz", "protein.faa.gz", "rna.fna.gz", "cds_from_genomic.fna.gz")


@pytest.fixture
def plan(server, tmp_path):
  client = Client(Patience(attempts=2), clock=flaky.FakeClock(), say=lambda line: None)
  catalogue = Catalogue(client, tmp_path, dict.fromkeys(HOSTS, server.url))
  return lambda name, **options: RELEASES[name].plan(catalogue, Options(**options))


def paths(plan) -> list[str]:
  return [file.path for file in plan.files]


# Assemblies


def test_accession_gives_the_files_of_its_folder_with_their_checksums(server, plan, release):
  layouts.add_release(server, release.path)
  found = plan("assembly", assemblies=("GCF_900000005.1",))
  name = "GCF_900000005.1_MiniYeast1"
  assert paths(found) == [f"{name}/{name}_{s}" for s in
                          ("genomic.gff.gz", "genomic.fna.gz", "rna.fna.gz", "protein.faa.gz")]
  for file in found.files:
    content = (release.path / file.path).read_bytes()
    assert file.checksum == f"md5:{hashlib.md5(content).hexdigest()}"
    assert file.url == f"{server.url}{layouts.folder_of(name)}/{file.path.split('/')[1]}"
  # One listing and one list of checksums: not the summary of all assemblies.
  assert len(server.requests) == 2


def test_kinds_of_files_are_chosen_by_their_whole_name(server, plan):
  layouts.add_assembly(server, "GCF_000000001.1_A", ANNOTATED)
  found = plan("assembly", assemblies=("GCF_000000001.1",), files=("fna", "cds"))
  assert paths(found) == [f"GCF_000000001.1_A/GCF_000000001.1_A_{s}" for s in
                          ("genomic.fna.gz", "cds_from_genomic.fna.gz")]


def test_accession_without_version_is_the_newest(server, plan):
  for version in (2, 10, 9):
    layouts.add_assembly(server, f"GCF_000000001.{version}_A{version}", ANNOTATED)
  assert paths(plan("assembly", assemblies=("GCF_000000001",)))[0].startswith("GCF_000000001.10_A10/")
  assert paths(plan("assembly", assemblies=("GCF_000000001.9",)))[0].startswith("GCF_000000001.9_A9/")


def test_version_that_is_not_there_is_an_error(server, plan):
  layouts.add_assembly(server, "GCF_000000001.12_A", ANNOTATED)
  with pytest.raises(DownloadError, match="holds no GCF_000000001.1. Check the accession"):
    plan("assembly", assemblies=("GCF_000000001.1",))


@pytest.mark.parametrize("accession", ["GCF_1", "NC_000913.3", "GCF_000005845.2/../..", ""])
def test_word_that_is_no_accession_is_an_error(plan, accession):
  with pytest.raises(InputError, match="is no accession of an assembly"):
    plan("assembly", assemblies=(accession,))


def test_assembly_without_annotation_is_fetched_and_says_so(server, plan):
  layouts.add_assembly(server, "GCA_000000001.1_A", ("genomic.fna.gz", "assembly_report.txt"))
  found = plan("assembly", assemblies=("GCA_000000001.1",))
  # Not among the folders that the build reads as genes.
  assert paths(found) == ["unannotated/GCA_000000001.1_A/GCA_000000001.1_A_genomic.fna.gz"]
  assert "NOT ANNOTATED" in found.notes[0]


def test_assembly_with_none_of_the_files_is_an_error(server, plan):
  layouts.add_assembly(server, "GCA_000000001.1_A", ("assembly_report.txt",))
  with pytest.raises(DownloadError, match="lists none of the files asked for"):
    plan("assembly", assemblies=("GCA_000000001.1",))


def test_checksum_that_is_none_names_the_file(server, plan):
  layouts.add_assembly(server, "GCF_000000001.1_A", ANNOTATED)
  served = server.files[layouts.folder_of("GCF_000000001.1_A") + "/md5checksums.txt"]
  served.content = re.sub(rb"^[0-9a-f]{32}", b"pending", served.content, flags=re.MULTILINE)
  with pytest.raises(DownloadError, match="_genomic.gff.gz: its listing gives the checksum 'md5:pending'"):
    plan("assembly", assemblies=("GCF_000000001.1",))


def test_model_organisms_are_accessions(server, plan):
  for accession in MODEL_ORGANISMS:
    layouts.add_assembly(server, f"{accession if '.' in accession else accession + '.3'}_A", ANNOTATED)
  assert len({path.split("/")[0] for path in paths(plan("model_organisms"))}) == len(MODEL_ORGANISMS)


# Taxa and species


def add_summaries(server, refseq, genbank=()):
  for section, assemblies in (("refseq", refseq), ("genbank", genbank)):
    server.add(layouts.SUMMARIES.format(section), layouts.summary(*assemblies))
    for assembly in assemblies:
      layouts.add_assembly(server, assembly["directory"], ANNOTATED)


REFERENCE = {"refseq_category": "reference genome"}


@pytest.mark.parametrize("taxon", ["559292", "4932", "Saccharomyces cerevisiae", "saccharomyces CEREVISIAE s288c"])
def test_taxon_is_an_id_of_strain_or_species_or_a_name(server, plan, taxon):
  yeast = {"directory": "GCF_000000001.1_A", "organism_name": "Saccharomyces cerevisiae S288C", "taxid": "559292",
           "species_taxid": "4932"}
  other = {"directory": "GCF_000000002.1_B", "organism_name": "Saccharomyces cerevisiaeoides", "taxid": "49320",
           "species_taxid": "5592921"}
  add_summaries(server, [other | REFERENCE, yeast | REFERENCE])
  found = plan("taxon", taxon=taxon)
  assert {path.split("/")[0] for path in paths(found)} == {"GCF_000000001.1_A"}
  assert "Saccharomyces cerevisiae S288C (reference genome, Contig; RefSeq)" in found.notes[0]


def test_taxon_means_reference_genomes_unless_all_are_asked_for(server, plan):
  bus = [{"directory": f"GCF_00000000{i}.1_A", "organism_name": "Aus bus"} for i in (1, 2, 3)]
  add_summaries(server, [bus[0], bus[1] | REFERENCE, bus[2]])
  assert len(paths(plan("taxon", taxon="Aus bus", files=("fna",)))) == 1
  assert len(paths(plan("taxon", taxon="Aus bus", files=("fna",), reference_only=False))) == 3


def test_taxon_without_a_reference_genome_says_how_to_get_the_others(server, plan):
  add_summaries(server, [{"directory": "GCF_000000001.1_A", "organism_name": "Aus bus"}])
  with pytest.raises(InputError, match="none of the 1 assemblies .* --noreference_only"):
    plan("taxon", taxon="Aus bus")


def test_taxon_that_nobody_knows_is_an_error(server, plan):
  add_summaries(server, [])
  with pytest.raises(InputError, match="no assembly of '9606'"):
    plan("taxon", taxon="9606")


def test_replaced_assemblies_and_those_without_a_folder_are_left_out(server, plan):
  add_summaries(server, [
      {"directory": "GCF_000000001.1_A", "organism_name": "Aus bus", "version_status": "replaced"},
      {"directory": "GCF_000000002.1_A", "organism_name": "Aus bus", "ftp_path": "na"},
      {"directory": "GCF_000000003.1_A", "organism_name": "Aus bus", "ftp_path": "https://example.org/../../etc"},
  ])
  with pytest.raises(InputError, match="no assembly"):
    plan("taxon", taxon="Aus bus", reference_only=False)


def test_best_assembly_of_a_species_is_reference_then_annotated_then_finished_then_recent():
  def assembly(accession, **values):
    given = {"is_reference": False, "level": "Scaffold", "released": "2020/01/01", "annotated": True} | values
    return ncbi_assemblies.Assembly(accession, "Aus bus", ("1", "1"), folder="", **given)

  best_first = [
      assembly("e", is_reference=True, annotated=False, level="Contig"), assembly("c", level="Complete Genome"),
      assembly("d", level="Chromosome"), assembly("b", released="2024/12/31"), assembly("a", released="2023/12/31"),
      assembly("f", released="2023/12/31"), assembly("z", annotated=False, level="Complete Genome"),
  ]
  assert sorted(reversed(best_first), key=lambda a: a.rank) == best_first


def test_species_of_the_paper_are_looked_up_in_refseq_then_in_genbank_and_missing_ones_are_named(server, plan):
  in_refseq = [name for name in BSM_SPECIES if name not in ("Mucor saturninus", "Xylariales", "Macaca nigra")]
  add_summaries(
      server,
      [{"directory": f"GCF_0000000{i:02}.1_A", "organism_name": name + " L23"} for i, name in enumerate(in_refseq)],
      [{"directory": "GCA_000000050.1_B", "organism_name": "Mucor saturninus"},
       {"directory": "GCA_000000051.1_B", "organism_name": "Xylariales sp. PMI_506"},
       {"directory": "GCA_000000052.1_B", "organism_name": "Homo sapiens"}],
  )
  layouts.add_assembly(server, "GCA_000000050.1_B", ("genomic.fna.gz",))
  found = plan("bsm_species", files=("fna", "gff"))
  folders = {path.split("/")[-2] for path in paths(found)}
  assert len(folders) == 13 and "GCA_000000052.1_B" not in folders
  notes = "\n".join(found.notes)
  assert "Macaca nigra: NOT FOUND" in notes
  assert re.search("Mucor saturninus: GCA_.*GenBank, for RefSeq has none.*NOT ANNOTATED", notes)
  assert len(found.notes) == 14


def test_summary_is_kept_for_the_next_run_and_renewed_when_it_changes(server, plan, tmp_path):
  add_summaries(server, [{"directory": "GCF_000000001.1_A", "organism_name": "Aus bus"} | REFERENCE])
  path = layouts.SUMMARIES.format("refseq")
  for _ in range(2):
    plan("taxon", taxon="Aus bus")
  assert len(server.asked("GET", path)) == 1
  add_summaries(server, [{"directory": "GCF_000000001.2_A", "organism_name": "Aus bus"} | REFERENCE])
  assert paths(plan("taxon", taxon="Aus bus"))[0].startswith("GCF_000000001.2")
  assert {p.name for p in tmp_path.iterdir()} == {".listings"}


@pytest.mark.parametrize("text", ["", "<html>Maintenance</html>\n", "#assembly_accession\ttaxid\nGCF_1\t9606\n"])
def test_file_that_is_no_summary_is_an_error(server, plan, text):
  server.add(layouts.SUMMARIES.format("refseq"), text)
  with pytest.raises(InputError, match="is no assembly summary"):
    plan("taxon", taxon="Aus bus")


# The other releases


def test_gene_tables_have_no_checksums_and_the_plan_says_so(server, plan):
  found = plan("gene_tables")
  assert paths(found) == ["gene2accession.gz", "gene2refseq.gz", "gene_refseq_uniprotkb_collab.gz"]
  assert {file.checksum for file in found.files} == {None}
  assert "no checksums" in found.notes[0]


def test_refseq_release_is_its_nucleotide_files_with_checksums(server, plan):
  names = ["complete.1.1.genomic.fna.gz", "complete.12.rna.fna.gz", "complete.1.protein.faa.gz",
           "complete.1.1.genomic.gbff.gz", "vertebrate_mammalian.1.rna.fna.gz"]
  server.add("/refseq/release/RELEASE_NUMBER", "230\n")
  lines = [f"{hashlib.md5(name.encode()).hexdigest()}\t{name}" for name in names]
  server.add("/refseq/release/release-catalog/release230.files.installed", "\n".join(lines) + "\n")
  for name in names:
    server.add(f"/refseq/release/complete/{name}", b"x" * 2000)
  found = plan("refseq_release")
  assert paths(found) == names[:2]
  assert [file.approximate_size for file in found.files] == [2048, 2048]  # "2.0K" in the listing
  assert found.files[0].checksum == f"md5:{hashlib.md5(names[0].encode()).hexdigest()}"
  assert len(server.requests) == 3  # no request for each of tens of thousands of files


@pytest.mark.parametrize(("number", "lines", "problem"), [
    ("<html>", "", "is no number"), ("230", "", "lists no nucleotide files"),
    ("230", "12345\tcomplete.1.1.genomic.fna.gz", "gives the checksum 'md5:12345'"),
])
def test_refseq_release_that_cannot_be_found_out_is_an_error(server, plan, number, lines, problem):
  server.add("/refseq/release/RELEASE_NUMBER", number)
  server.add("/refseq/release/release-catalog/release230.files.installed", lines)
  server.add("/refseq/release/complete/complete.1.1.genomic.fna.gz", b"")
  with pytest.raises(DownloadError, match=problem):
    plan("refseq_release")


def test_genbank_is_the_flat_files_of_the_divisions(server, plan):
  for name in ("pri1.seq.gz", "pri12.seq.gz", "rod1.seq.gz", "pat1.seq.gz", "rel.txt", "pri1.fsa_nt.gz"):
    server.add(f"/genbank/gb{name}", b"")
  found = plan("genbank_related", divisions=("pri", "rod"))
  assert paths(found) == ["gbpri1.seq.gz", "gbpri12.seq.gz", "gbrod1.seq.gz"]
  with pytest.raises(InputError, match="GenBank has no xyz"):
    plan("genbank_related", divisions=("pri", "xyz"))


@pytest.mark.parametrize(("name", "path"), [
    ("swissprot", "current_release/knowledgebase/complete/uniprot_sprot.fasta.gz"),
    ("trembl", "current_release/knowledgebase/complete/uniprot_trembl.fasta.gz"),
    ("uniref50", "current_release/uniref/uniref50/uniref50.fasta.gz"),
    ("uniref90", "current_release/uniref/uniref90/uniref90.fasta.gz"),
    ("uniref100", "current_release/uniref/uniref100/uniref100.fasta.gz"),
])
def test_uniprot_files_have_size_and_checksum_of_their_metalink(server, plan, name, path):
  layouts.add_uniprot(server, path, b"content")
  (file,) = plan(name).files
  assert (file.url, file.path, file.size) == (f"{server.url}/{path}", path.split("/")[-1], 7)
  assert file.checksum == f"md5:{hashlib.md5(b'content').hexdigest()}"
  assert file.licence.startswith("CC BY 4.0:")


def test_metalink_without_the_file_is_an_error(server, plan):
  layouts.add_uniprot(server, "current_release/knowledgebase/complete/other.fasta.gz", b"")
  with pytest.raises(DownloadError, match="does not list uniprot_sprot.fasta.gz"):
    plan("swissprot")


@pytest.mark.parametrize("text", [
    "", "<metalink>", "not xml", '<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><m>&b;</m>',
    "<m><file name='f'><size>ten</size><hash type='md5'>0</hash></file></m>",
])
def test_metalink_that_is_none_is_an_error(server, plan, text):
  server.add("/current_release/knowledgebase/complete/RELEASE.metalink", text)
  with pytest.raises(DownloadError, match="RELEASE.metalink: cannot be read"):
    plan("swissprot")


def test_metalink_of_version_4_is_read_as_well():
  text = ('<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="f"><size>3</size><hash type="sha-256">x</hash>'
          '<hash type="md5"> AB </hash></file></metalink>')
  assert parse_metalink(text) == {"f": (3, "ab")}


def test_both_forms_of_colabfold_are_one_archive_each(server, plan):
  assert paths(plan("colabfold_envdb")) == ["colabfold_envdb_202108.db.tar.gz"]
  assert paths(plan("colabfold_envdb_tsv")) == ["colabfold_envdb_202108.tar.gz"]
  assert "no checksum" in plan("colabfold_envdb").notes[0]


def test_fineweb_is_the_parquet_files_of_one_commit_over_all_pages(server, plan):
  names = tuple(f"00{i}_00000.parquet" for i in range(5))
  layouts.add_parquet(server, "sample/10BT", names)
  found = plan("fineweb_edu_sample")
  assert paths(found) == [f"10BT/{name}" for name in names]
  first = found.files[0]
  assert (first.size, first.checksum) == (1700, f"sha256:{hashlib.sha256(names[0].encode() * 100).hexdigest()}")
  assert layouts.COMMIT in first.url and layouts.COMMIT in found.notes[0]
  assert first.licence.startswith("ODC-By")


def test_subset_of_fineweb_is_a_folder_of_its_repository(server, plan):
  layouts.add_parquet(server, "data/CC-MAIN-2024-10", ("a.parquet",))
  assert paths(plan("fineweb_edu", subset="data/CC-MAIN-2024-10")) == ["CC-MAIN-2024-10/a.parquet"]


@pytest.mark.parametrize(("path", "text", "problem"), [
    ("revision/main", "<html>", "is no JSON"),
    ("revision/main", '{"sha": "../.."}', "names no commit"),
    ("revision/main", "[]", "names no commit"),
    (f"tree/{layouts.COMMIT}/sample/10BT?recursive=true", '{"error": "x"}', "lists files otherwise"),
    (f"tree/{layouts.COMMIT}/sample/10BT?recursive=true", '[{"type": "file", "path": "a.parquet"}]', "lists files oth"),
    (f"tree/{layouts.COMMIT}/sample/10BT?recursive=true", "[]", "holds no such files"),
    (f"tree/{layouts.COMMIT}/sample/10BT?recursive=true",
     '[{"type": "file", "path": "../../a.parquet", "lfs": {"oid": "0", "size": 1}}]', "names a file"),
    ("revision/main", "[" * 100_000, "is no JSON"),
])
def test_hub_that_answers_otherwise_is_an_error(server, plan, path, text, problem):
  layouts.add_parquet(server, "sample/10BT", ("a.parquet",))
  server.add(f"/api/datasets/{layouts.DATASET}/{path}", text)
  with pytest.raises(DownloadError, match=problem):
    plan("fineweb_edu_sample")


def test_two_files_of_one_name_are_an_error(server, plan):
  layouts.add_parquet(server, "sample/10BT", ("a.parquet", "a.parquet"))
  with pytest.raises(DownloadError, match="would go to .*a.parquet, and so would"):
    plan("fineweb_edu_sample")


# Folder listings


def test_folder_listing_has_names_kinds_and_rounded_sizes():
  entries = parse_folder_listing("""<html><pre>Name <a href="?C=S;O=A">Size</a><hr>
<a href="/genomes/">Parent Directory</a>                   -
<a href="GCF_000001405.40_GRCh38.p14/">GCF_000001405.40_GRCh38..&gt;</a>  2024-01-01 10:00    -
<a href="a%20b.gz">a b.gz</a>     2024-01-01 10:00  1.2G
<a href="small.txt">small.txt</a>     2024-01-01 10:00  812
<a href="nosize">nosize</a>
<a href="https://www.usa.gov">USA</a></pre>""")
  assert [(e.name, e.is_folder, e.approximate_size) for e in entries] == [
      ("GCF_000001405.40_GRCh38.p14", True, None), ("a b.gz", False, int(1.2 * 2**30)), ("small.txt", False, 812),
      ("nosize", False, None),
  ]


@pytest.mark.parametrize("link", [
    "../x", "..%2fx", "%2e%2e/x", "/etc/passwd", "a/b", "a\\b", "x%00y", "x%0ay", "//h/x", "", "#",
])
def test_links_that_lead_elsewhere_are_left_out(link):
  assert parse_folder_listing(f'<a href="{link}">x</a> 2024-01-01 10:00 1K') == []


@hypothesis.given(st.text(st.sampled_from('<a hrefHREF="=>/.%2e0159KMG \n&amp;x![CDATA'), max_size=200) | st.text())
def test_any_page_gives_plain_names_or_none(text):
  for entry in parse_folder_listing(f'<a href="{text}">x</a> 1K\n{text}'):
    assert "/" not in entry.name and not entry.name.startswith(".") and entry.name


@hypothesis.given(st.text(st.sampled_from("<>/file sizehash='md5'0129:!-[]&;metalink"), max_size=200) | st.text())
def test_any_metalink_is_read_or_refused(text):
  try:
    files = parse_metalink(text)
  except ValueError:
    return
  assert all(isinstance(size, int) for size, _ in files.values())


@hypothesis.given(content=st.binary(max_size=300), header=st.booleans())
def test_any_summary_is_read_or_refused(content, header, tmp_path_factory):
  content = layouts.summary().encode() * header + content
  path = tmp_path_factory.getbasetemp() / "any_summary.txt"
  path.write_bytes(content)
  try:
    list(ncbi_assemblies.read_summary(path))
  except InputError as error:
    assert "is no assembly summary" in str(error)


def test_every_release_says_what_it_is_and_what_to_do_with_it():
  for name, release in RELEASES.items():
    assert re.fullmatch("[a-z0-9_]+", name)
    assert release.summary and release.then
