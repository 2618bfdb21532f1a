import pytest

from cxrtool.core.config import PrepareConfig
from cxrtool.data.problems import Problems
from cxrtool.data.sources.siim import SIIM


@pytest.mark.parametrize("column", ["EncodedPixels", " EncodedPixels"])
@pytest.mark.parametrize("name", ["train-rle.csv", "stage_2_train.csv"])
def test_an_image_with_any_mask_has_a_pneumothorax(tmp_path, name, column):
    rows = ["1.2.3,-1", "1.2.4,5 2 10 3", "1.2.4,7 1", "1.2.5, -1 "]
    (tmp_path / name).write_text("\n".join([f"ImageId,{column}", *rows, ""]))
    problems = Problems()
    source = SIIM.read(tmp_path, PrepareConfig(), problems)
    assert source.rows["path"].tolist() == ["1.2.3", "1.2.4", "1.2.5"]
    assert source.rows["Pneumothorax"].tolist() == [0, 1, 0]
    assert source.rows["Edema"].isna().all()
    assert problems.table().empty
