"""OpenVINO on this machine's cores."""

import subprocess
import sys

from cxrtool.inference.engines.kept import find_graph
from cxrtool.inference.engines.openvino_engine import OpenVinoEngine
from tests.support.engines import skip_without_extras

skip_without_extras()


def test_openvino_scores_many_images_in_parts_with_a_stream_each(kept_once):
    graph = find_graph(*kept_once, "openvino")
    threads = {}
    for images in (None, 4, 5):
        made = OpenVinoEngine(graph, precision="fp32", images=images)._compiled
        assert {one.get_property("NUM_STREAMS") for one in made} == {1}
        threads[images] = [one.get_property("INFERENCE_NUM_THREADS") for one in made]
    (cores,) = threads[None]
    assert threads[4] == [cores]
    assert sum(threads[5]) == cores
    assert len(threads[5]) > 1 or cores % 2 != 0


def test_a_signal_is_heard_after_engines_have_gone_in_the_order_in_which_they_came(kept_once):
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from cxrtool.inference.engines.graph_files import read_graph\n"
        "from cxrtool.inference.engines.openvino_engine import OpenVinoEngine\n"
        f"graph = read_graph(Path({str(find_graph(*kept_once, 'openvino').path)!r}))\n"
        "engines = [OpenVinoEngine(graph, precision='fp32') for _ in range(3)]\n"
        "while engines:\n"
        "    engines.pop(0)\n"
        "signal.signal(signal.SIGINT, lambda *_: print('heard'))\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "heard\n", "")
