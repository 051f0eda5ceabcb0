import csv
import json

import pytest

from bsm_jax import report


def write_run(folder, lines, figures):
  folder.mkdir(exist_ok=True)
  (folder / "config.json").write_text(json.dumps({"figures": figures}))
  (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


LINES = [
    {"step": 0, "kind": "valid", "round": "a", "valid/x/dna": 2.0, "valid/x/loss": 1.4},
    {"step": 5, "kind": "train", "round": "a", "loss": 1.5},
    {"step": 10, "kind": "train", "round": "b", "loss": 1.0},
    {"step": 10, "kind": "valid", "round": "b", "valid/x/dna": 1.5, "valid/x/loss": 1.0},
]


def test_every_panel_of_the_config_is_drawn(tmp_path):
  write_run(tmp_path, LINES, {"DNA: held out!": {"bits": "valid/x/dna"}, "not there": {"none": "valid/y/dna"}})
  paths = report.draw(tmp_path)
  assert [p.rsplit("/", 1)[1] for p in paths] == ["training_loss.png", "dna_held_out.png", "overview.png"]
  assert all(open(p, "rb").read(8) == b"\x89PNG\r\n\x1a\n" for p in paths)
  with (tmp_path / "figures/curves.csv").open() as file:
    rows = list(csv.reader(file))
  assert ["valid/x/dna", "10", "1.5"] in rows and ["loss", "5", "1.5"] in rows


def test_rounds_begin_where_their_first_line_stands():
  assert report.round_borders(LINES) == [(5, "a"), (10, "b")]


def test_the_table_gives_first_and_last_bits(tmp_path):
  write_run(tmp_path, LINES, {})
  assert report.last_values(tmp_path) == [("valid/x/dna", 2.0, 1.5)]


def test_a_folder_without_a_run_is_named(tmp_path):
  with pytest.raises(report.ReportError, match="is no run directory"):
    report.draw(tmp_path)


def test_a_run_without_lines_is_named(tmp_path):
  write_run(tmp_path, [], {})
  with pytest.raises(report.ReportError, match="no lines yet"):
    report.draw(tmp_path)
