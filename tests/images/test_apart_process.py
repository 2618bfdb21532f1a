"""The process that decodes: what it reads, says and may do."""

import io

import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from cxrtool.images.apart_process import MODES
from cxrtool.images.film import read_film
from cxrtool.images.reading import read_file
from tests.support.apart import FILM
from tests.support.dicoms import compressed, dataset, dicom, saved
from tests.support.lossless import wavy


def picture(mode):
    deep = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    return (
        Image.fromarray(FILM.astype(deep[mode]))
        if mode in deep
        else Image.fromarray(FILM).convert(mode)
    )


@pytest.mark.parametrize("kind", [*MODES, "DICOM"])
def test_what_was_sent_is_read_as_a_file_of_it_would_be(tmp_path, kind):
    """Also by decoders that load more where they are first used: there is nothing to load from."""
    paths = []
    for mode in MODES.get(kind, ()):
        paths.append(tmp_path / mode.replace(";", ""))
        picture(mode).save(paths[-1], kind)
    if kind == "DICOM":
        deep = wavy(40, 56, 12)
        paths = [dicom(tmp_path / "plain.dcm", deep, 12)]
        for syntax, plugin in ((uid.RLELossless, "pydicom"), (uid.JPEGLSLossless, "pyjpegls")):
            made = dataset(deep, 12)
            made.compress(syntax, encoding_plugin=plugin)
            paths.append(saved(tmp_path / f"{plugin}.dcm", made))
        stream = io.BytesIO()
        Image.fromarray(deep).save(stream, "JPEG2000", no_jp2=True)
        syntax = uid.JPEG2000Lossless
        paths.append(compressed(tmp_path / "a.dcm", stream.getvalue(), deep, syntax, 12))
    for path in paths:
        sent, here = read_film(path.name, path.read_bytes()), read_file(path, look=True)
        assert (np.asarray(sent.grey) == np.asarray(here.grey)).all()
        assert sent.warning == here.warning


def test_what_a_library_writes_is_a_warning_and_no_answer_is_broken_by_it(broken):
    answer, pixels = broken("shout")
    assert answer["warning"] == "damaged: libtiff: so it is (libtiff)"
    assert pixels == FILM.tobytes()


def test_a_warning_of_pythons_is_no_damage_and_names_no_place_of_this_machine(broken):
    assert broken("warn")[0]["warning"] == ""


def test_what_was_sent_is_decoded_where_no_other_image_was_and_nothing_can_be_opened(broken):
    for _ in range(3):
        assert broken("before")[0]["warning"] == "damaged: 1 (libtiff)"
    assert broken("open")[0]["warning"] == "damaged: Too many open files, and 2 more (libtiff)"
