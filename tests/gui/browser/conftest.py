"""One browser and one scripted server for all tests here; a page of its own for each."""

from contextlib import ExitStack

import pytest

from tests.support.scripted_desk import about, plain, scripted
from tests.support.watched_page import CHROMIUM, FLAGS, Watched

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


def pytest_collection_modifyitems(items):
    missing = pytest.mark.skip(reason="no chromium in PATH: apt-get install chromium")
    for item in items:
        if CHROMIUM is None and "browser" in item.path.parts:
            item.add_marker(missing)


SIZE = {"width": 1280, "height": 800}
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Keep what became of a test for its fixtures."""
    report = yield
    item.stash[FAILED] = report.failed or item.stash.get(FAILED, False)
    return report


@pytest.fixture(scope="session")
def chromium():
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def scripted_server():
    with scripted() as served:
        yield served


@pytest.fixture(scope="session")
def functions(chromium, scripted_server):
    """A page on which functions of its modules are called: none changes anything."""
    page = chromium.new_page()
    page.goto(scripted_server[0])
    yield page
    page.close()


@pytest.fixture
def desk(scripted_server):
    """What the scripted server answers, as it is before a test changes it."""
    made = scripted_server[1]
    made.about, made.script = about(), plain
    made.asked.clear()
    made.most_at_once = made.free = 0
    made.held.set()
    yield made
    made.rest()


@pytest.fixture(scope="session")
def usual(chromium):
    """A browser's page of the usual size, for one test after the other: a new one takes longer.

    Nothing of a page stays in it for the next: test_queue says so.
    """
    context = chromium.new_context(viewport=SIZE)
    yield context.new_page()
    context.close()


@pytest.fixture
def look(chromium, usual, scripted_server, desk, request):
    """Open the page, in a browser with these settings; without any, what was open before is left.

    What a page complained of is not said where the test has failed: it would hide why.
    """
    with ExitStack() as stack:
        pages = []

        def opened(address=scripted_server[0], **settings):
            if settings:
                context = chromium.new_context(**{"viewport": SIZE, **settings})
                stack.callback(context.close)
            pages.append(Watched(context.new_page() if settings else usual, address))
            stack.callback(pages[-1].leave)
            return pages[-1].open()

        yield opened
        stack.pop_all().close()
        if not request.node.stash.get(FAILED, False):
            for page in pages:
                page.check()


@pytest.fixture
def watched(look):
    return look()
