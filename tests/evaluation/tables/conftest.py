"""Tables that the tests write."""

import pandas as pd
import pytest


@pytest.fixture
def write(tmp_path):
    """Writes a table, from a frame or from lines, and gives its path."""

    def write(name, content):
        path = tmp_path / name
        if isinstance(content, pd.DataFrame):
            content.to_csv(path, index=False)
        else:
            path.write_text("\n".join(content))
        return path

    return write
