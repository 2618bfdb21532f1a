"""What `import cxrtool` gives, and what it costs."""

import subprocess
import sys

import pytest

import cxrtool


def test_importing_the_package_is_light():
    heavy = ("torch", "fastai", "pandas", "numpy")
    code = f"import sys, cxrtool; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_load_run_is_there_without_fastai():
    code = "import sys; from cxrtool import load_run; print('fastai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_what_the_package_offers():
    assert {"xray_block", "xray_learner", "load_run", "__version__"} == set(cxrtool.__all__)
    assert set(cxrtool.__all__) <= set(dir(cxrtool))
    assert all(hasattr(cxrtool, name) for name in cxrtool.__all__)
    with pytest.raises(AttributeError, match="no attribute 'xray_lerner'"):
        _ = cxrtool.xray_lerner
