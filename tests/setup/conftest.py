# SPDX-License-Identifier: Apache-2.0
"""A wheel of this tree, made once."""

import shutil
import zipfile
from pathlib import Path

import pytest

from tests.setup import packaged


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return packaged.built("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip would put into site-packages."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def copy(unpacked: Path, tmp_path: Path) -> Path:
    """What pip would put there, to be broken."""
    return Path(shutil.copytree(unpacked, tmp_path / "site"))
