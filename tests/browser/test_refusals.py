"""What the page refuses, in which words, and that it goes on afterwards; and where its requests go."""

import http.server
import threading
import urllib.request

import keras
import pytest
import tensorflow as tf
from PIL import Image

from keras_cacnet.export import tflite

SIZE = (48, 64)


@pytest.fixture(scope="module")
def small():
    """A model of one layer, to be exported in ways that the page refuses or has to make do with."""
    return keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)], name="small")


@pytest.fixture
def assert_goes_on(page, segment, photograph, file_of, assert_as_keras):
    """Whatever was refused, the model that the page had segments a photograph as before."""

    def check():
        image = photograph(*SIZE, seed=1)
        ids, _ = segment(page, file_of(image), "afterwards.png")
        assert_as_keras(image[None], ids[None])
        assert not page.is_visible("#error")
        assert page.inner_text("#status").startswith("cacnet.tflite: 48x64 (height x width), 5 classes, CPU")

    return check


def refusal(page, kind, name, content):
    page.evaluate("() => { document.getElementById('error').hidden = true; }")
    page.set_input_files(f"#{kind}-file", {"name": name, "mimeType": "", "buffer": content})
    page.locator("#error:visible").wait_for()
    return page.inner_text("#error")


def damaged(content):
    middle = len(content) // 2
    return content[:middle] + bytes(16) + content[middle + 16 :]


@pytest.mark.parametrize(
    ("name", "content_of", "words"),
    [
        ("notes.txt", lambda png: b"no image", "notes.txt is no image that this browser reads: choose a JPEG, PNG or"),
        ("empty.png", lambda png: b"", "empty.png is no image that this browser reads"),
        ("cut.png", lambda png: png[: len(png) // 2], "cut.png cannot be decoded, it is damaged or cut off: copy it"),
        ("damaged.png", damaged, "damaged.png cannot be decoded"),
    ],
)
def test_bad_images_are_refused(page, photograph, file_of, assert_goes_on, name, content_of, words):
    assert refusal(page, "photograph", name, content_of(file_of(photograph(*SIZE)))).startswith(words)
    assert_goes_on()


def test_what_is_no_file_is_refused(page, assert_goes_on):
    page.evaluate("() => window.dispatchEvent(new DragEvent('drop', { dataTransfer: new DataTransfer() }))")
    page.get_by_text("That is no file: save the image first, and drop or choose the file.").wait_for()
    assert_goes_on()


def test_a_huge_image_is_refused(page, file_of, assert_goes_on):
    told = refusal(page, "photograph", "huge.png", file_of(Image.new("1", (12_000, 10_000))))
    assert told == "huge.png has 12000 x 10000 pixels, and this page takes up to 100 million: make it smaller."
    assert_goes_on()


@pytest.mark.parametrize("part", [0.3, 0.999])
def test_a_damaged_model_is_refused_and_the_one_before_stays(page, model_file, assert_goes_on, part):
    content = model_file.read_bytes()
    told = refusal(page, "model", "cut.tflite", content[: int(part * len(content))])
    assert told.startswith("cut.tflite cannot be run: it is damaged, or no export of keras-cacnet. Copy it anew, or")
    assert_goes_on()


def test_other_files_are_no_models(page, assert_goes_on):
    told = refusal(page, "model", "letter.tflite", b"Dear Sir or Madam,")
    assert told.startswith("letter.tflite is no TFLite file: choose one that this command wrote: keras-cacnet export")
    assert_goes_on()


def test_a_model_for_any_size_is_refused_with_the_option_to_export_it(page, small, tmp_path, assert_goes_on):
    content = tflite(small, tmp_path / "any.tflite").read_bytes()
    told = refusal(page, "model", "any.tflite", content)
    assert told == (
        "any.tflite takes images of any size, and LiteRT.js runs files of one size only: export it with --size 512x512."
    )
    assert_goes_on()


def test_models_of_other_inputs_and_outputs_are_refused(page, other_tflite, assert_goes_on):
    told = refusal(page, "model", "other.tflite", other_tflite)
    assert "other.tflite is no export of keras-cacnet: it has " in told
    assert "float32 [-1, 48, 64, 3]" in told
    assert_goes_on()


@pytest.fixture
def other_tflite(tmp_path):
    model = keras.Sequential([keras.Input((*SIZE, 3), batch_size=1), keras.layers.Conv2D(5, 1)])
    model.export(tmp_path / "other", verbose=False)
    return tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "other")).convert()


def test_a_server_without_the_runtime_is_told_what_it_lacks(open_page, plain_address, model_file):
    page = open_page(plain_address)
    page.route("**/wasm/*", lambda route: route.fulfill(status=404))
    told = refusal(page, "model", "cacnet.tflite", model_file.read_bytes())
    assert told.startswith(
        f"LiteRT.js does not start: copy the whole of dist/ to the server, with {plain_address}wasm/, or take a newer"
    )


def test_without_classes_they_are_numbered(open_page, address, small, segment, photograph, file_of, tmp_path):
    content = tflite(small, tmp_path / "bare.tflite", size=SIZE).read_bytes()
    page = open_page(address)
    page.set_input_files("#model-file", {"name": "bare.tflite", "mimeType": "", "buffer": content})
    page.get_by_text("bare.tflite has no names of classes: they are numbered.").wait_for()
    ids, _ = segment(page, file_of(photograph(*SIZE)))
    names = page.locator("#legend .name").all_inner_texts()
    assert sorted(names) == sorted(f"class {index}" for index in set(ids.ravel().tolist()))


def test_without_a_model_the_page_asks_for_one(
    open_page, site, plain_address, model_file, segment, photograph, file_of
):
    (site / "dist" / "cacnet.tflite").rename(site / "elsewhere.tflite")
    try:
        page = open_page(plain_address)
    finally:
        (site / "elsewhere.tflite").rename(site / "dist" / "cacnet.tflite")
    asked = "There is no model yet: choose or drop a .tflite file."
    assert page.inner_text("#status") == asked
    # That there is none is no error.
    assert not page.is_visible("#error")
    image = file_of(photograph(*SIZE))
    assert refusal(page, "photograph", "early.png", image) == asked
    page.set_input_files("#model-file", model_file)
    segment(page, image)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        # Without permission Chromium refuses.
        ("", "The camera was refused: allow it for this page in the browser and start it again."),
        (
            "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotFoundError'));",
            "This machine has no camera that the browser knows: connect one, or choose a photograph.",
        ),
        (
            "Object.defineProperty(navigator, 'mediaDevices', { value: undefined });",
            "Browsers give the camera to pages from https:// or localhost only: serve this page so.",
        ),
    ],
)
def test_without_a_camera_the_page_says_why(open_page, address, segment, photograph, file_of, script, words):
    page = open_page(address, script)
    page.click("#camera")
    page.locator("#error:visible").wait_for()
    assert page.inner_text("#error") == words
    assert page.inner_text("#camera") == "Start camera"
    segment(page, file_of(photograph(*SIZE)))
    assert not page.is_visible("#error")


@pytest.fixture
def elsewhere():
    """Another server, that anyone may ask, and what it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Cross-Origin-Resource-Policy", "cross-origin")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *values):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("served", ["address", "plain_address"])
def test_nothing_leaves_the_page(open_page, elsewhere, segment, photograph, file_of, request, served):
    there, asked = elsewhere
    origin = request.getfixturevalue(served)
    page = open_page(origin)
    segment(page, file_of(photograph(*SIZE)))
    root = origin.removesuffix("dist/")
    assert {url for url in page.requests if not url.startswith((root, f"blob:{root}"))} <= {"data:,"}
    assert any(url.endswith(".wasm") for url in page.requests)

    outcome = "fetch(address).then(() => 'went', () => 'did not go')"
    tries = [
        f"(address) => {outcome}",
        "(address) => { navigator.sendBeacon(address, 'x'); }",
        "(address) => { new WebSocket(address.replace('http', 'ws')); }",
        "(address) => new Promise((done) => { const image = new Image(); image.onload = image.onerror = done;"
        " image.src = address; })",
    ]
    for index, code in enumerate(tries):
        page.evaluate(code, f"{there}page/{index}")
    for worker in page.workers[:1]:
        assert worker.evaluate(f"(address) => {outcome}", f"{there}worker") == "did not go"
    page.wait_for_timeout(200)
    assert asked == []
    # Workers that are files have no policy: every one, also those of the threads, is a blob and has the page's.
    assert page.workers
    assert all(worker.url.startswith("blob:") for worker in page.workers)
    # The other server does answer.
    with urllib.request.urlopen(f"{there}asked") as answer:
        assert answer.status == 200
    assert asked == ["/asked"]
