import gzip
import tarfile

import pytest

from cxrtool.core.config import PrepareConfig
from cxrtool.core.errors import DataError
from cxrtool.data.labels import CHEXPERT_LABELS
from cxrtool.data.problems import Problems
from cxrtool.data.sources.detect import FORMATS, open_source
from cxrtool.data.sources.openi import CHEXPERT_NAMES, HEADERS, OPENI
from cxrtool.data.sources.rows import ABSENT

REPORTS = {
    1: (["a", "b"], ["Cardiomegaly/borderline", "Fractures, Bone/ribs/left", "Aorta/tortuous"]),
    2: (["c"], ["normal"]),
    3: (["d"], ["No Indexing"]),
    4: (["e"], ["Pulmonary  Edema", "Lymph nodes/calcified", "Pneumothorax/left"]),
    5: ([], ["normal"]),
}
"""{number: images, terms}."""


def report(number, images, terms):
    majors = "".join(f"<major>{term}</major>" for term in terms)
    parents = "".join(f'<parentImage id="CXR{number}_{name}"/>' for name in images)
    return (
        f'<?xml version="1.0"?>\n<eCitation><meta type="rr"/><uId id="CXR{number}"/>'
        f"<MeSH>{majors}<automatic>edema</automatic></MeSH>{parents}</eCitation>\n"
    )


@pytest.fixture
def xml(tmp_path):
    folder = tmp_path / "ecgen-radiology"
    folder.mkdir()
    for number, (images, terms) in REPORTS.items():
        (folder / f"{number}.xml").write_text(report(number, images, terms))
    return tmp_path


@pytest.fixture
def kaggle(tmp_path):
    images = [
        f"{number},{number}_{name}.dcm.png,{'Lateral' if name == 'b' else 'Frontal'}"
        for number, (names, _) in REPORTS.items()
        for name in names
    ]
    rows = [
        f'{number},"{";".join(terms)}",x,Chest,,None.,clear,normal'
        for number, (_, terms) in REPORTS.items()
    ]
    (tmp_path / "indiana_projections.csv").write_text(
        "\n".join(["uid,filename,projection", *images, ""])
    )
    head = "uid,MeSH,Problems,image,indication,comparison,findings,impression"
    (tmp_path / "indiana_reports.csv").write_text("\n".join([head, *rows, ""]))
    return tmp_path


def read(folder, **options):
    problems = Problems()
    source = OPENI.read(folder, PrepareConfig(**options), problems)
    return source, problems.table()


def positives(rows):
    return [{name for name in CHEXPERT_LABELS if row[name] == 1} for _, row in rows.iterrows()]


FOUND = [{"Cardiomegaly", "Fracture"}] * 2 + [{"No Finding"}, {"Edema", "Pneumothorax"}]


def test_kaggles_two_tables_are_joined(kaggle):
    source, problems = read(kaggle)
    rows = source.rows
    assert rows["path"].tolist() == [f"{name}.dcm.png" for name in ("1_a", "1_b", "2_c", "4_e")]
    assert rows["patient_id"].tolist() == ["1", "1", "2", "4"]
    assert rows["study_id"].tolist() == ["1/1", "1/1", "2/2", "4/4"]
    assert rows["view"].tolist() == ["frontal", "lateral", "frontal", "frontal"]
    assert positives(rows) == FOUND
    assert source.tables == ("indiana_projections.csv", "indiana_reports.csv")
    assert "impression" in source.unused["indiana_reports.csv"]
    assert "1 report without an image: left out" in source.notes
    assert problems[["kind", "where"]].to_numpy().tolist() == [
        ["no labels", "indiana_projections.csv line 5"]
    ]


@pytest.mark.parametrize("place", ["beside", "inside", "packed"])
def test_nlms_reports_say_the_same(xml, place):
    if place == "packed":
        with tarfile.open(xml / "NLMCXR_reports.tgz", "w:gz") as archive:
            archive.add(xml / "ecgen-radiology", "ecgen-radiology")
        for file in (xml / "ecgen-radiology").iterdir():
            file.unlink()
        (xml / "ecgen-radiology").rmdir()
    folder = xml / "ecgen-radiology" if place == "inside" else xml
    assert FORMATS["openi"].holds(folder)
    source, problems = read(folder)
    rows = source.rows
    assert rows["path"].tolist() == ["CXR1_a", "CXR1_b", "CXR2_c", "CXR4_e"]
    assert rows["patient_id"].tolist() == ["1", "1", "2", "4"]
    assert positives(rows) == FOUND
    assert set(rows["view"]) == {"other"}
    assert any("the view of 5 images is not known (there is no" in note for note in source.notes)
    assert problems[["kind", "where"]].to_numpy().tolist() == [["no labels", "3.xml"]]
    assert source.blank == ABSENT


def test_views_come_from_the_table_of_headers(xml):
    lines = ["CXR1_a,PA", "CXR1_b,LARGE LATERAL", "CXR2_c,", "CXR4_e,AP"]
    text = "\n".join(["imageid,View Position", *lines, ""])
    (xml / f"{HEADERS}.gz").write_bytes(gzip.compress(text.encode()))
    source, _ = read(xml)
    assert source.rows["view"].tolist() == ["frontal", "lateral", "other", "frontal"]
    assert any(f"view of 2 images is not known ({HEADERS}.gz" in note for note in source.notes)


def test_own_names_are_the_terms_in_one_spelling(xml):
    (xml / "ecgen-radiology" / "6.xml").write_text(report(6, ["f"], ["Lymph Nodes"]))
    rows = read(xml, label_names="own")[0].rows
    assert rows["lymph nodes"].tolist() == [0, 0, 0, 1, 1]
    assert rows["fractures bone"].tolist() == [1, 1, 0, 0, 0]
    assert rows["aorta"].tolist() == [1, 1, 0, 0, 0]
    assert not any("," in name or "/" in name for name in rows.columns)


def test_labels_without_a_term_are_not_known(xml):
    rows = read(xml)[0].rows
    unknown = {"Enlarged Cardiomediastinum", "Pleural Other"}
    assert set(CHEXPERT_NAMES) | unknown == set(CHEXPERT_LABELS)
    assert set(rows.columns[rows.isna().all()]) - {"age"} == unknown
    # No report here has a term of these, and a term that is not there is a finding that is not.
    assert rows["Pneumonia"].tolist() == [0] * 4


def test_images_are_found_by_their_names(xml):
    (xml / "images").mkdir()
    for name in ("CXR1_a", "CXR1_b", "CXR2_c", "CXR3_d", "CXR4_e"):
        (xml / "images" / f"{name}.png").touch()
    source = open_source(PrepareConfig(data=xml), xml, Problems())
    assert source.dataset == "openi"
    assert source.rows["path"][0] == "images/CXR1_a.png"


def test_a_table_alone_is_refused_with_what_is_missing(kaggle):
    (kaggle / "indiana_reports.csv").unlink()
    with pytest.raises(DataError, match=r"has indiana_projections\.csv but no indiana_reports"):
        read(kaggle)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<eCitation><uId", r"3\.xml cannot be read as XML"),
        ("<eCitation></eCitation>", r"3\.xml has no uId"),
        (
            '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><eCitation>&e;</eCitation>',
            r"3\.xml cannot be read as XML",
        ),
    ],
)
def test_a_report_that_is_none_is_named(xml, text, told):
    (xml / "ecgen-radiology" / "3.xml").write_text(text)
    with pytest.raises(DataError, match=told):
        read(xml)


def test_other_xml_files_are_not_reports(tmp_path):
    (tmp_path / "a.xml").write_text("<annotation/>")
    assert not FORMATS["openi"].holds(tmp_path)


def test_a_broken_archive_is_named(tmp_path):
    (tmp_path / "NLMCXR_reports.tgz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"NLMCXR_reports\.tgz cannot be read .*complete"):
        read(tmp_path)
