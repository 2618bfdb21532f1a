"""A page's application behind its gate, with a made-up model."""

import pytest

from cxrtool.gui.app import make_app
from cxrtool.gui.desk import Desk
from cxrtool.gui.gate import Gate
from cxrtool.gui.intake import Intake, Room
from tests.support.asgi import Asked
from tests.support.gui import MeanEngine, model

MOST_MB = 1


class Dark(MeanEngine):
    """Says the opposite."""

    def submit(self, pixels):
        return super().submit(255 - pixels)


@pytest.fixture
def desk():
    return Desk(models=(model(), model(Dark(), name="other")))


@pytest.fixture
def asked(desk, tmp_path):
    most = MOST_MB * 2**20
    intake = Intake(room=Room(4 * most), most_bytes=most, root=tmp_path)
    app = make_app(desk, intake, most_mb=MOST_MB)
    made = Asked(Gate(app=app, host="127.0.0.1", most_bytes=most, count=desk.counters.requested))
    made.desk = desk
    return made
