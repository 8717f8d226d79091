"""The page of examples/browser, built from its lock file, in a headless Chromium."""

import contextlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

import keras_cacnet as kc

SOURCES = Path(__file__).resolve().parents[2] / "examples" / "browser"
SIZE = (48, 64)
# Playwright adds an empty profile of its own. The camera is Chromium's test picture.
OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-fake-device-for-media-stream"
)


def program(*names):
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f"{' or '.join(names)} is not installed")


@pytest.fixture(scope="package")
def classes():
    names = ("sky", "sea", "sand", "palm tree", "boat")
    palette = ((90, 160, 220), (20, 60, 140), (230, 210, 150), (40, 120, 40), (200, 40, 40))
    return kc.datasets.ClassTable(names, palette, ids=(1, 2, 3, 4, 6), void_ids=(0,))


@pytest.fixture(scope="package")
def model_file(cacnet, classes, tmp_path_factory):
    return kc.export.tflite(cacnet, tmp_path_factory.mktemp("model") / "cacnet.tflite", classes, size=SIZE)


@pytest.fixture(scope="package")
def site(model_file, tmp_path_factory):
    """A copy of the folder with dist/ built in it, the model beside the page."""
    npm = program("npm")
    program("node")
    folder = tmp_path_factory.mktemp("browser") / "page"
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules", "dist", "*.tflite"))
    shutil.copy(model_file, folder / "cacnet.tflite")
    for words in (["ci"], ["run", "build"]):
        done = subprocess.run([npm, *words], cwd=folder, capture_output=True, text=True, check=False)
        if found := re.search(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH)\b", done.stderr):
            pytest.skip(f"npm reaches no registry: {found[0]}")
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="package")
def address(site):
    """Where the folder's own server, with the headers for threads, serves it."""
    process = subprocess.Popen([program("node"), "serve.mjs", "0"], cwd=site, stdout=subprocess.PIPE, text=True)
    yield process.stdout.readline().strip()
    stop(process)


@pytest.fixture(scope="package")
def plain_address(site):
    """The same below another folder, by a server that knows nothing of it."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(site)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    port = process.stdout.readline().split("port ")[1].split()[0]
    yield f"http://127.0.0.1:{port}/dist/"
    stop(process)


def stop(process):
    process.terminate()
    process.wait(10)
    process.stdout.close()


@pytest.fixture(scope="package")
def chromium():
    executable = program("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=OPTIONS.split())
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(chromium, address, script="", **options):
    context = chromium.new_context(**options)
    context.set_default_timeout(20_000)
    page = context.new_page()
    failures, page.requests = [], []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.add_init_script(script)
    page.goto(address)
    # While it loads a model the status ends so.
    page.locator("#status", has_not_text="…").wait_for()
    yield page
    context.close()
    assert failures == []


@pytest.fixture
def open_page(chromium):
    """Opens a page of the test's own and waits until its model is there, or it says that there is none."""
    with contextlib.ExitStack() as stack:
        yield lambda *words, **options: stack.enter_context(opened(chromium, *words, **options))


@pytest.fixture(scope="package")
def page(chromium, address):
    """One page for all tests that leave it its model: whatever came before, it has to go on."""
    with opened(chromium, address) as page:
        yield page


@pytest.fixture(scope="package")
def result_of():
    """Waits until the page has segmented the image of that name; gives ids and probabilities of its pixels."""

    def read(page, name):
        page.locator(f"#stage[data-photograph='{name}']").wait_for()
        width, height, ids, probabilities = page.evaluate(
            "() => { const { width, height, classIds, probabilities } = window.cacnet.lastResult;"
            " return [width, height, [...classIds], [...probabilities]]; }"
        )
        shape = (height, width)
        return np.array(ids, "int32").reshape(shape), np.array(probabilities, "float32").reshape(shape)

    return read


@pytest.fixture(scope="package")
def segment(result_of):
    """Chooses a file in the page, and waits for the result."""

    def run(page, content, name="photograph.png"):
        # The page is not new: what it shows by that name may be another test's.
        page.evaluate("() => { delete document.getElementById('stage').dataset.photograph; }")
        page.set_input_files("#photograph-file", {"name": name, "mimeType": "", "buffer": content})
        return result_of(page, name)

    return run
