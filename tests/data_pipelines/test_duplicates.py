"""Duplicates among units: of every key the first holder stays, whatever the division of keys among tasks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines import duplicates
from data_pipelines.units import CORPORA, Unit, UnitWriter


def write_units(root, units):
  """Units of items (content, near keys, kept)."""
  folders = []
  for number, items in enumerate(units):
    folder = root / f"unit{number}"
    folder.mkdir()
    writer = UnitWriter(folder)
    for content, near, kept in items:
      index = writer.append("single_modal", {"id": "x"}, content=content, letters=1, near=near)
      if not kept:
        writer.leave_out(index)
    writer.close()
    folders.append(str(folder))
  return folders


def find(root, folders, parts=1):
  edges = [i * 2**64 // parts for i in range(parts + 1)]
  made = []
  for first, last in zip(edges, edges[1:]):
    folder = root / f"keys{first:x}-{parts}"
    folder.mkdir()
    duplicates.find(folder, units=folders, first=f"{first:016x}", last=f"{last - 1:016x}")
    made.append(str(folder))
  return {(u, i): r for u in range(len(folders)) for i, r in duplicates.of_unit(made, u).items()}


def test_the_first_of_equal_items_stays(tmp_path):
  units = write_units(tmp_path, [[(7, (), True), (8, (), True), (7, (), True)], [(9, (), True), (8, (), True)]])
  assert find(tmp_path, units) == {(0, 2): "duplicate", (1, 1): "duplicate"}


def test_an_item_that_is_left_out_holds_no_key(tmp_path):
  units = write_units(tmp_path, [[(7, (), False)], [(7, (), True), (7, (), True)]])
  assert find(tmp_path, units) == {(1, 1): "duplicate"}


def test_a_document_of_another_corpus_is_no_duplicate(tmp_path):
  writer = UnitWriter(tmp_path)
  for corpus in CORPORA:
    writer.append(corpus, {"id": "x"}, content=7, letters=1, near=[9])
  writer.close()
  assert find(tmp_path, [str(tmp_path)]) == {}


def test_near_duplicates_share_a_key_and_equal_ones_are_called_equal(tmp_path):
  units = write_units(tmp_path, [[(1, (50, 60), True), (2, (51, 60), True), (3, (52,), True), (1, (50, 60), True)]])
  assert find(tmp_path, units) == {(0, 1): "near_duplicate", (0, 3): "duplicate"}


def test_an_item_is_no_duplicate_of_itself(tmp_path):
  assert find(tmp_path, write_units(tmp_path, [[(5, (5, 6, 6), True)]])) == {}


_ITEM = st.tuples(st.integers(1, 6), st.lists(st.integers(2**63, 2**63 + 5), max_size=2), st.booleans())


@settings(max_examples=50)
@given(units=st.lists(st.lists(_ITEM, max_size=6), min_size=1, max_size=4))
def test_any_division_of_keys_finds_what_a_plain_loop_finds(units, tmp_path_factory):
  root = tmp_path_factory.mktemp("units")
  folders = write_units(root, units)
  holders, expected = {}, {}
  for u, items in enumerate(units):
    for i, (content, near, kept) in enumerate(items):
      for key in [content, *near] if kept else []:
        if holders.setdefault(key, (u, i)) != (u, i):
          is_exact = key == content or expected.get((u, i)) == "duplicate"
          expected[u, i] = "duplicate" if is_exact else "near_duplicate"
  assert find(root, folders) == find(root, folders, parts=5) == expected


def test_ranges_cover_every_key_once():
  edges = duplicates.ranges(5 * duplicates.KEYS_PER_TASK)
  numbers = [(int(a, 16), int(b, 16)) for a, b in edges]
  assert len(numbers) == 5 and numbers[0][0] == 0 and numbers[-1][1] == 2**64 - 1
  assert all(b + 1 == a for (_, b), (a, _) in zip(numbers, numbers[1:]))


def test_a_unit_reads_back_what_was_written(tmp_path):
  (folder,) = write_units(tmp_path, [[(7, (), True), (8, (3,), False)]])
  unit = Unit(folder)
  assert (len(unit), unit.kept.tolist(), unit.of("single_modal").tolist()) == (2, [True, False], [True, True])
  assert unit.key_item.tolist() == [0]
  assert unit.spool[1] == {"id": "x"} and not unit.is_gene(0)
  np.testing.assert_array_equal(unit.letters, [1, 1])
