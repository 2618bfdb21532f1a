"""A desk and what waits at it."""

import pytest

from cxrtool.gui.desk import Desk
from cxrtool.gui.uploads import Uploads
from tests.support.gui import heat_maps, scorer


@pytest.fixture
def uploads(tmp_path):
    folder = tmp_path / "private"
    folder.mkdir()
    return Uploads(folder, 10**7)


@pytest.fixture
def desk(uploads):
    return Desk(scorer(), heat_maps(), uploads)
