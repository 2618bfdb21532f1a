"""The flow: every row of the tables is somewhere in it, and what is not known is not guessed."""

from dataclasses import replace

import pandas as pd
import pytest

from cxrtool.core.config import PrepareConfig, SplitConfig
from cxrtool.core.workspace import Workspace
from cxrtool.data.phantoms import draw_dataset
from cxrtool.reports.cohort import Cohort, read_cohort
from cxrtool.reports.flow import Count, flow_of
from cxrtool.reports.flow_picture import WIDTH, draw_flow
from cxrtool.workflows.prepare import prepare_manifest
from cxrtool.workflows.split import split_manifest
from tests.reports.test_page import a_result
from tests.support.results import result_of


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A workspace of a data set with a fault of each kind, and its table's rows."""
    folder = tmp_path_factory.mktemp("faulty")
    drawn = draw_dataset(folder / "data", patients=30, seed=3, valid_patients=2)
    table = next(drawn.folder.glob("train.csv"))
    lines = table.read_text().splitlines()
    frontal = [number for number, line in enumerate(lines) if "frontal" in line.lower()]
    for at, number in enumerate(frontal[1:4]):
        image = drawn.folder.parent / lines[number].split(",")[0]
        image = image if image.is_file() else next(drawn.folder.rglob("/".join(image.parts[-3:])))
        image.write_bytes(b"no picture") if at else image.unlink()
    cells = lines[frontal[5]].split(",")
    lines[frontal[5]] = ",".join([*cells[:-2], "maybe", "perhaps"])  # two bad cells, one row
    lines += [lines[frontal[6]], "no/path.txt," + ",".join(cells[1:])]
    table.write_text("\n".join(lines) + "\n")
    workspace = Workspace(folder / "cxr")
    config = PrepareConfig(data=drawn.folder, workers=0, cache=False, views="frontal")
    prepare_manifest(config, workspace)
    split_manifest(SplitConfig(sizes="60,20,20"), workspace, seed=1)
    return workspace, [*lines[1:], *(drawn.folder / "valid.csv").read_text().splitlines()[1:]]


def result_with(cohort, part="test"):
    images, patients = cohort.counts(part)
    return replace(result_of(a_result()), n=images, patients=patients, split=part)


class Split:
    """What of a run's card the parts hang on."""

    published, fold = None, None

    def __init__(self, split_sha256):
        self.split_sha256 = split_sha256


def test_every_row_of_the_tables_is_in_the_flow(faulty):
    workspace, rows = faulty
    cohort = read_cohort(workspace, Split("of another split"))
    assert not cohort.as_trained
    flow = flow_of(cohort, result_with(cohort))
    assert flow.listed.rows == len(rows)
    assert flow.unread.reasons == {"label value": 1, "unreadable path": 1, "duplicate path": 1}
    assert flow.read.rows == len(rows) - 3 == flow.listed.rows - flow.unread.total
    lateral = sum("lateral" in row.split(",")[0] for row in rows)
    assert flow.left_out.reasons == {
        "views other than frontal": lateral,
        "missing image": 1,
        "broken image": 2,
    }
    assert flow.left_out.unexplained == 0
    assert flow.kept.rows == flow.read.rows - flow.left_out.total
    assert sum(part.rows for part in flow.parts.values()) == flow.kept.rows
    assert sum(part.patients for part in flow.parts.values()) == flow.kept.patients
    assert flow.scored == flow.parts["test"]
    assert flow.read.patients == 32


def small(**changes):
    rows = pd.DataFrame({"patient_id": ["a", "a", "b", "c"]})
    made = {"rows": rows, "facts": {"rows": 9, "views": "all"}, "left_out": []}
    return Cohort(**{**made, **changes})


def test_what_was_not_written_down_is_not_known():
    result = result_of(a_result())
    flow = flow_of(small(left_out=None, facts={}), result)
    assert flow.listed == Count(rows=None, patients=None, unit="row")
    assert flow.unread.total is None
    assert flow.left_out.total is None
    assert flow.kept == Count(rows=4, patients=3)
    assert flow.parts == {}
    # Five rows are gone, and nobody says why.
    flow = flow_of(small(), result)
    assert (flow.listed.rows, flow.left_out.total, flow.left_out.unexplained) == (9, 5, 5)
    # More reasons than rows: those of another preparation.
    flow = flow_of(small(left_out=[("broken image", str(at)) for at in range(6)]), result)
    assert (flow.left_out.reasons, flow.left_out.unexplained) == ({}, 5)
    # How many rows became one is not written down.
    for change in (
        {"facts": {"rows": 9, "readers": {"rule": "vote"}}},
        {"left_out": [("two patients", "a.jpg")]},
    ):
        assert flow_of(small(**change), result).listed.rows is None


def test_a_box_says_not_known_and_no_words_leave_their_box():
    result = result_of(a_result())
    reasons = [(f"a kind with rather a long name, number {at}", f"line {at}") for at in range(8)]
    for cohort in (small(left_out=None, facts={}), small(left_out=reasons)):
        drawing = draw_flow(flow_of(cohort, result))
        for box in drawing.boxes:
            assert box.x >= 0
            assert box.x + box.width <= WIDTH
            assert box.y + box.height <= drawing.height
            assert all(6.2 * len(line) <= box.width - 18 for line in [*box.lines, box.title])
        for one in drawing.boxes:
            for other in drawing.boxes:
                beside = one.x + one.width <= other.x or other.x + other.width <= one.x
                apart = one.y + one.height <= other.y or other.y + other.height <= one.y
                assert one is other or beside or apart
    words = [[box.title, *box.lines] for box in draw_flow(flow_of(small(facts={}), result)).boxes]
    assert words[0] == ["In the tables", "not known"]
    assert ["Left out: not known"] in words
