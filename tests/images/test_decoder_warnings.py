"""Warnings of decoders, in threads."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from cxrtool.images.decoder_warnings import QUIET
from cxrtool.images.errors import ImageError
from cxrtool.images.reading import read_grey
from tests.support.greys import RAMP, saved


def test_in_threads_a_bomb_is_refused_and_the_filters_of_warnings_are_put_back(
    tmp_path, monkeypatch, capfd
):
    """Up to twice the limit Pillow only warns, and filters are the process's, not a thread's."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", RAMP.size - 1)
    path = saved(tmp_path / "a.png", RAMP)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        before = list(warnings.filters)

        def read(_):
            with pytest.raises(ImageError, match="more pixels"):
                read_grey(path)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(read, range(300)))
        assert warnings.filters == before
        with QUIET:
            inside = list(warnings.filters)
            with QUIET:
                pass
            assert warnings.filters == inside != before
        with QUIET:  # as if another thread put its own filters in place of these
            warnings.simplefilter("ignore")
            read(0)
    assert capfd.readouterr() == ("", "")
