"""A graph is read once."""

import shutil

import numpy as np

from cxrtool.inference.engines.choose import open_graph
from cxrtool.inference.engines.kept import find_graph
from tests.support.engines import skip_without_extras

skip_without_extras()


def test_engines_get_the_bytes_that_were_checked_whatever_becomes_of_the_files(kept_run, pixels):
    run, card = kept_run
    for name, suffixes in (("openvino", (".xml",)), ("onnxruntime", (".onnx",))):
        graph = find_graph(run, card, name)
        expected = open_graph(graph, name, "fp32", None).submit(pixels)()
        for suffix in suffixes:
            graph.path.with_suffix(suffix).write_bytes(b"another network")
        assert np.array_equal(open_graph(graph, name, "fp32", None).submit(pixels)(), expected)
        shutil.rmtree(graph.path.parent)
        assert np.array_equal(open_graph(graph, name, "fp32", None).submit(pixels)(), expected)
