"""Taxon and accession from the headers of public FASTA files."""

import pytest

from data_pipelines.formats import fasta, headers


@pytest.mark.parametrize("header, taxon", [
    ("sp|P01023|A2MG_HUMAN Alpha-2-macroglobulin OS=Homo sapiens OX=9606 GN=A2M PE=1 SV=3", 9606),
    ("tr|A7TBS3|A7TBS3_NEMVE Predicted protein OS=Nematostella vectensis OX=45351", 45351),
    ("UniRef50_UPI002E2621C6 uncharacterized protein n=1 Tax=Corticium candelabrum TaxID=121492 RepID=UPI00", 121492),
    ("NP_000005.3 alpha-2-macroglobulin isoform a precursor [Homo sapiens]", 0),
    ("seq1 [organism=Homo sapiens] [taxid=9606]", 9606),
    ("A7TBS3 Predicted protein OS=Nematostella vectensis GN=v1g153959 PE=4 SV=1", 0),
    ("x a name with BOX=12 and OX=none", 0),
    ("x OX=99999999999999999999", 0),
    ("x", 0),
])
def test_taxon_is_read_where_the_header_gives_its_number(header, taxon):
  _, description = fasta.split_header(header.encode())
  assert headers.taxon(description) == taxon


@pytest.mark.parametrize("name, accession", [
    ("sp|P01023|A2MG_HUMAN", "P01023"),
    ("sp|P01023-2|A2MG_HUMAN", "P01023-2"),
    ("tr|A0A0A6JXJ0|A0A0A6JXJ0_CANAX", "A0A0A6JXJ0"),
    ("UniRef90_Q6GZX4", "Q6GZX4"),
    ("UniRef50_UPI002E2621C6", "UPI002E2621C6"),
    ("O57809", "O57809"),
    ("P00042.2", "P00042.2"),
    ("NP_000005.3", "NP_000005.3"),
    ("gi|16127995|ref|NP_414542.1|", "NP_414542.1"),
    ("gi|45|gb|AAC73112.1|THRL", "AAC73112.1"),
    ("gi|45|pir||S12345", "S12345"),
    ("gi|45", "45"),
    ("ref|NC_000913.3|", "NC_000913.3"),
    ("pdb|1ABC|A", "1ABC_A"),
    ("lcl|NC_000001.1_cds_NP_1.1_7", "NC_000001.1_cds_NP_1.1_7"),
    ("gnl|PRJNA1|locus_7", "locus_7"),
    ("sp||", "sp||"),
    ("pdb||", "pdb||"),
    ("chrI", "chrI"),
    ("a|b|c", "a|b|c"),
])
def test_accession_is_the_database_s_own_name(name, accession):
  assert headers.accession(name) == accession


def test_every_swiss_prot_header_gives_its_accession_and_taxon(shared_data):
  records = list(fasta.read_fasta(shared_data / "proteins" / "yeast_swissprot.fasta.gz"))
  assert len(records) == 6315
  assert {headers.taxon(record.description) for record in records} == {559292}
  for record in records:
    assert headers.accession(record.name) == record.name.split("|")[1]
