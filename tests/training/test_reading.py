import numpy as np
import pytest

from cxrtool.core.errors import DataError
from cxrtool.data.manifest import read_manifest
from cxrtool.images.cache import ImageCache
from cxrtool.training.reading import FromCache, FromFiles, ReadXRay


@pytest.fixture
def reading(prepared_once):
    """The prepared images' paths, and what reads them."""
    folder = prepared_once.read_data_info().folder
    paths = read_manifest(prepared_once.manifest)["path"].tolist()
    return paths, ReadXRay(folder, 32, ImageCache(prepared_once.cache), augmented=True)


@pytest.mark.parametrize("training", [True, False])
def test_an_image_that_the_cache_alone_lacks_is_an_error(reading, training):
    """Else a training would decode every file without a word, many times as slowly."""
    paths, images = reading
    assert isinstance(images.reader(paths[:3], training=training), FromCache)
    with pytest.raises(DataError, match=r"lacks 'new\.jpg': run `cxrtool prepare` again"):
        images.reader([*paths[:2], "new.jpg"], training=training)


def test_other_images_than_the_prepared_ones_are_read_from_their_files(reading):
    paths, images = reading
    whole = [str((images.folder / path).absolute()) for path in paths[:2]]
    reader = images.reader(whole, training=False)
    assert isinstance(reader, FromFiles)
    cached = images.reader(paths[:2], training=False)
    assert np.array_equal(reader([0, 1]), cached([0, 1]))
