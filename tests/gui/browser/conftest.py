"""One browser and one scripted server for all tests here; a page of its own for each."""

import pytest

from tests.support.scripted_desk import about, plain, scripted
from tests.support.watched_page import CHROMIUM, FLAGS, Watched

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


def pytest_collection_modifyitems(items):
    missing = pytest.mark.skip(reason="no chromium in PATH: apt-get install chromium")
    for item in items:
        if CHROMIUM is None and "browser" in item.path.parts:
            item.add_marker(missing)


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
    made.most_at_once = 0
    made.held.set()
    yield made
    made.held.set()


@pytest.fixture
def look(chromium, scripted_server, desk):
    """Open the page, in a browser with these settings."""
    contexts, pages = [], []

    def opened(address=scripted_server[0], **settings):
        settings = {"viewport": {"width": 1280, "height": 800}, **settings}
        contexts.append(chromium.new_context(**settings))
        pages.append(Watched(contexts[-1], address))
        return pages[-1].open()

    yield opened
    for page in pages:
        page.close()
    for context in contexts:
        context.close()


@pytest.fixture
def watched(look):
    return look()
