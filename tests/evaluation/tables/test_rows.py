"""Which row of the predictions is which of the truth."""

import pytest

from cxrtool.core.errors import DataError
from tests.support.tables import keyed, manifest, read, scores_of, short


def test_of_several_keys_the_one_with_most_rows_counts(write):
    truth = ["image,file", "a,w", "b,x", "c,y"]
    scores = ["image,file", "b,y", "q,x", "r,w"]
    assert keyed(write, truth, scores) == [2, 1, 0]


def test_contradicting_keys_are_told(write):
    truth, scores = ["image,file", "a,x", "b,y"], ["image,file", "b,x", "a,y"]
    with pytest.raises(DataError, match=r"contradict each other: .*2 rows.*--key"):
        keyed(write, truth, scores)
    assert keyed(write, truth, scores, key="image") == [1, 0]
    assert keyed(write, truth, scores, key="file") == [0, 1]


def test_a_rows_number_gives_way_to_a_name(write):
    truth, scores = ["id,path", "0,a", "1,b", "2,c"], ["id,path", "0,a", "1,b", "2,q"]
    assert keyed(write, truth, scores) == [0, 1]


def test_images_of_studies_are_not_taken_by_their_row_numbers(write):
    study, image = "patient0000{}/study1", "patient0000{}/study1/view1_frontal.jpg"
    truth = ["id,Study", *(f"{row},{study.format(row)}" for row in range(3))]
    scores = ["id,Path", *(f"{row},{image.format(2 - row)}" for row in range(3))]
    with pytest.raises(DataError, match="contradict each other"):
        keyed(write, truth, scores)
    same = ["id,Path", *(f"{row},{image.format(row)}" for row in range(3))]
    assert keyed(write, truth, same) == [0, 1, 2]
    assert keyed(write, truth, scores, key="Path=Study") == [2, 1, 0]


def test_exact_keys_come_before_their_ends(write):
    truth, scores = ["path", "a/1.png", "a/2.png"], ["path", "b/1.png", "a/2.png"]
    assert keyed(write, truth, scores) == [1]


def test_the_end_of_a_path_counts_if_it_is_unique(write):
    truth = ["path", "x/a/1.png", "x/b/1.png", "x/b/2.png"]
    scores = ["path", "/y/b/2.png", "/y/a/1.png", "/y/b/1.png"]
    assert keyed(write, truth, scores) == [1, 2, 0]
    with pytest.raises(DataError, match="no row of"):
        keyed(write, truth, ["path", "/y/q/1.png", "/y/r/1.png", "/y/c/2.png"])
    with pytest.raises(DataError, match="no row of"):
        keyed(write, truth, ["path", "/y/q/1.png"])


def test_a_key_that_is_named_is_compared_whole(write):
    truth, scores = ["path", "x/a.png", "x/b.png"], ["path", "y/b.png", "y/a.png"]
    assert keyed(write, truth, scores) == [1, 0]
    with pytest.raises(DataError, match=r"no row of .*With --key the cells must be equal; without"):
        keyed(write, truth, scores, key="path")


def test_other_endings_are_the_same_images(write):
    paths = [f"patient0000{row}/study1/view1_frontal" for row in range(3)]
    assert keyed(
        write,
        ["Path", *(f"{p}.jpg" for p in paths)],
        ["Path", *(f"x/{p}.png" for p in paths)],
    ) == [0, 1, 2]


def test_another_patients_image_of_the_same_name_is_no_match(write):
    path = "patient0000{}/study1/view1_frontal.jpg"
    for end in ("view1_frontal.jpg", ""):
        one, two = (path.format(n).removesuffix("/view1_frontal.jpg" * (not end)) for n in (1, 2))
        with pytest.raises(DataError, match=r"no row of"):
            keyed(write, ["Path", one], ["Path", two])


def test_lateral_images_are_not_taken_for_frontal_ones(write):
    path = "patient0000{}/study1/view{}.jpg"
    truth = ["path", path.format(1, "1_frontal"), path.format(2, "1_frontal")]
    with pytest.raises(DataError, match="no row of"):
        keyed(write, truth, ["path", path.format(1, "2_lateral"), path.format(2, "2_lateral")])


def test_images_are_matched_before_their_studies(write):
    frame = manifest()
    frontal = frame[frame["view"] == "frontal"]
    scores = scores_of(frame, key="path").assign(study_id=frame["study_id"])
    matched = read(write("t.csv", frontal), write("p.csv", scores))
    assert matched.unit == "image"
    assert matched.keys == [short(path) for path in frontal["path"]]
    assert list(matched.extra.values()) == [len(frame) - len(frontal)]
