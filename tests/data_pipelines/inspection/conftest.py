"""What the tests of inspection look into."""

import pathlib
import shutil

import pytest

from data_pipelines.inspection import figures, layout
from data_pipelines.inspection import survey as survey_lib
from tests.data_pipelines.inspection import sample_build


@pytest.fixture(scope="session")
def built(tmp_path_factory):
  """A build; not to be changed."""
  out = tmp_path_factory.mktemp("built")
  sample_build.write_build(out)
  return out


@pytest.fixture
def copy(built, tmp_path):
  """A build that may be changed."""
  return pathlib.Path(shutil.copytree(built, tmp_path / "out"))


@pytest.fixture(scope="session")
def survey(built):
  return survey_lib.survey(layout.find(built), survey_lib.Options())


@pytest.fixture(scope="session")
def drawn(survey):
  return figures.draw_all(survey)
