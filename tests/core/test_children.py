import subprocess
import sys

from cxrtool.core.children import start_module

ENDLESS = (
    "from cxrtool.core.children import follow_the_parent\n"
    "import time\n"
    "follow_the_parent()\n"
    "print('ready', flush=True)\n"
    "time.sleep(600)\n"
)


def test_a_child_is_this_packages_module_and_has_what_it_is_given():
    with start_module("json.tool", {"PYTHONUTF8": "1"}) as child:
        answer, _ = child.communicate(b'{"a": 1}', timeout=60)
    assert child.returncode == 0
    assert b'"a": 1' in answer


def test_a_child_ends_with_its_parent_also_amid_work():
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert child.poll() is None
        child.stdin.close()
        assert child.wait(timeout=60) == 1
