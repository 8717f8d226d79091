"""What the page shows, against Keras on the same images."""

import base64
import io
import re
import struct

import keras
import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from keras_cacnet.datasets import read_image
from keras_cacnet.export import tflite

HEIGHT, WIDTH = 48, 64
DROP = """([kind, content, name]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: 'image/png' }));
  window.dispatchEvent(kind === 'drop'
    ? new DragEvent('drop', { dataTransfer: transfer }) : new ClipboardEvent('paste', { clipboardData: transfer }));
}"""


@pytest.fixture
def assert_page_as_keras(assert_as_keras, cacnet):
    def check(image, ids, probabilities):
        assert_as_keras(image[None], ids[None])
        logits = cacnet(np.asarray(image[None], "float32"), training=False)
        expected = keras.ops.convert_to_numpy(keras.ops.softmax(logits))[0]
        # The page has the probability of its own class alone. Tolerance: as for exports elsewhere.
        chosen = np.take_along_axis(expected, ids[..., None], -1)[..., 0]
        np.testing.assert_allclose(probabilities, chosen, rtol=0, atol=1e-5)

    return check


@pytest.fixture
def keras_ids(cacnet):
    """Ids of a photograph of any size, prepared as the page does: fitted in, its edge repeated, cut back."""

    def ids(image):
        height, width = image.shape[:2]
        scale = min(HEIGHT / height, WIDTH / width)
        fitted = round(height * scale), round(width * scale)
        resized = np.asarray(Image.fromarray(image).resize(fitted[::-1], Image.Resampling.BILINEAR))
        padding = (0, HEIGHT - fitted[0]), (0, WIDTH - fitted[1]), (0, 0)
        logits = cacnet(np.pad(resized, padding, "edge")[None].astype("float32"), training=False)
        return keras.ops.convert_to_numpy(logits)[0].argmax(-1)[: fitted[0], : fitted[1]]

    return ids


def test_an_image_of_the_models_size_gets_keras_classes(page, segment, photograph, file_of, assert_page_as_keras):
    image = photograph(HEIGHT, WIDTH)
    assert_page_as_keras(image, *segment(page, file_of(image)))


def test_a_real_photograph_gets_keras_classes(page, segment, shared_data, file_of, assert_page_as_keras):
    path = sorted((shared_data / "camvid" / "images" / "val").glob("*.jpg"))[0]
    image = np.asarray(Image.fromarray(read_image(path)).resize((WIDTH, HEIGHT), Image.Resampling.BOX))
    assert_page_as_keras(image, *segment(page, file_of(image)))


def test_a_real_photograph_of_its_own_size(page, segment, shared_data, keras_ids):
    path = sorted((shared_data / "camvid" / "images" / "val").glob("*.jpg"))[0]
    ids, _ = segment(page, path.read_bytes())
    expected = keras_ids(read_image(path))
    assert ids.shape == expected.shape
    # As below; of a photograph made 7.5 times smaller 96 % are equal.
    assert (ids == expected).mean() > 0.95


def test_colours_reach_the_model_as_the_file_has_them(page, segment, photograph, file_of, assert_page_as_keras):
    image = photograph(HEIGHT, WIDTH)
    linear = PngImagePlugin.PngInfo()
    linear.add(b"gAMA", struct.pack(">I", 100_000))
    assert_page_as_keras(image, *segment(page, file_of(image, pnginfo=linear)))


def test_transparent_parts_are_white(page, segment, photograph, file_of, assert_page_as_keras):
    image = photograph(HEIGHT, WIDTH)
    mask = np.full((HEIGHT, WIDTH, 1), 255, "uint8")
    mask[:20, :30] = 0
    found = segment(page, file_of(np.concatenate([image, mask], axis=-1)))
    assert_page_as_keras(np.where(mask == 0, np.uint8(255), image), *found)


def test_a_jpeg_is_turned_by_its_exif_orientation(page, segment, photograph, file_of, assert_page_as_keras):
    image = photograph(HEIGHT, WIDTH)
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored picture's upper edge is the right one
    content = file_of(np.ascontiguousarray(np.rot90(image)), "JPEG", quality=95, exif=exif)
    ids, probabilities = segment(page, content, "turned.jpg")
    # Chromium and Pillow decode by the same library.
    image = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert_page_as_keras(image, ids, probabilities)


@pytest.mark.parametrize("size", [(96, 200), (200, 96), (24, 31), (300, 400)])
def test_other_sizes_keep_their_aspect_ratio(page, segment, photograph, file_of, keras_ids, size):
    # Patches of 16 pixels, that are left when it is made smaller.
    image = np.asarray(Image.fromarray(photograph(*(side // 4 for side in size))).resize(size[::-1]))
    ids, _ = segment(page, file_of(image))
    expected = keras_ids(image)
    assert ids.shape == expected.shape
    # Browsers resample in ways of their own, and pixels on borders between classes differ: 98 to 99.8 % are equal.
    assert (ids == expected).mean() > 0.97
    assert len(np.unique(ids)) > 1


def test_pointing_tells_class_and_probability(page, segment, photograph, file_of, classes):
    ids, probabilities = segment(page, file_of(photograph(HEIGHT, WIDTH)))
    box = page.locator("#stage").bounding_box()
    for y, x in ((0, 0), (10, 50), (47, 63), (30, 20)):
        page.mouse.move(box["x"] + (x + 0.5) * box["width"] / WIDTH, box["y"] + (y + 0.5) * box["height"] / HEIGHT)
        expected = f"{classes.names[ids[y, x]]} {100 * probabilities[y, x]:.1f} %"
        assert page.inner_text("#label") == expected
    page.mouse.move(0, 0)
    assert not page.is_visible("#label")
    page.focus("#stage")
    page.keyboard.press("ArrowLeft")  # by a 50th of the width, from where the mouse was last
    assert page.inner_text("#label") == f"{classes.names[ids[30, 19]]} {100 * probabilities[30, 19]:.1f} %"
    page.keyboard.press("Escape")
    assert not page.is_visible("#label")


def test_a_phone_has_no_room_to_the_side_and_a_finger(open_page, address, segment, photograph, file_of, classes):
    page = open_page(address, viewport={"width": 360, "height": 640}, has_touch=True)
    ids, _ = segment(page, file_of(photograph(HEIGHT, WIDTH)))
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360
    box = page.locator("#stage").bounding_box()
    page.touchscreen.tap(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    assert page.inner_text("#label").startswith(classes.names[ids[HEIGHT // 4, WIDTH // 4]])


def test_the_legend_has_the_classes_that_occur_and_adds_up(page, segment, photograph, file_of, classes):
    ids, _ = segment(page, file_of(photograph(HEIGHT, WIDTH)))
    present, counts = np.unique(ids, return_counts=True)
    rows = [row.rsplit("\n", 1) for row in page.locator("#legend li").all_inner_texts()]
    shares = {name: float(share.removesuffix(" %")) for name, share in rows}
    assert set(shares) == {classes.names[index] for index in present}
    assert sum(round(10 * share) for share in shares.values()) == 1000
    for index, count in zip(present, counts, strict=True):
        assert abs(shares[classes.names[index]] - 100 * count / ids.size) <= 0.1


def test_overlay_and_legend_have_the_colours_of_the_classes(page, segment, photograph, file_of, classes):
    ids, _ = segment(page, file_of(photograph(HEIGHT, WIDTH)))
    read = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    overlay = np.array(page.locator("#overlay").evaluate(read), "uint8").reshape(HEIGHT, WIDTH, 4)
    np.testing.assert_array_equal(overlay[..., :3], np.array(classes.palette, "uint8")[ids])
    for row in page.locator("#legend li").all():
        color = row.locator("canvas").evaluate(read)
        assert tuple(color[:3]) == classes.palette[classes.names.index(row.locator(".name").inner_text())]
    page.locator("#opacity").fill("25")
    assert page.locator("#overlay").evaluate("canvas => canvas.style.opacity") == "0.25"


def test_the_time_is_shown(page, segment, photograph, file_of):
    segment(page, file_of(photograph(HEIGHT, WIDTH)))
    network, total = re.fullmatch(
        r"Network ([\d.]+) ms, with decoding and drawing ([\d.]+) ms", page.inner_text("#time")
    ).groups()
    assert 0 < float(network) < float(total)


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_photographs_are_dropped_and_pasted(page, result_of, photograph, file_of, assert_page_as_keras, kind):
    image = photograph(HEIGHT, WIDTH)
    page.evaluate(DROP, [kind, base64.b64encode(file_of(image)).decode(), f"{kind}.png"])
    assert_page_as_keras(image, *result_of(page, f"{kind}.png"))


def test_the_camera_runs_until_it_is_stopped(open_page, address, result_of):
    page = open_page(address, permissions=["camera"])
    page.click("#camera")
    ids, _ = result_of(page, "camera")
    assert ids.shape == (HEIGHT, WIDTH)  # Chromium's test picture is 4:3
    # Another frame has another result.
    page.evaluate("() => { window.before = window.cacnet.lastResult; }")
    page.wait_for_function("() => window.before !== window.cacnet.lastResult")
    page.get_by_text("Stop camera").click()
    page.get_by_text("Start camera").wait_for()
    page.evaluate("() => { window.before = window.cacnet.lastResult; }")
    page.wait_for_timeout(300)
    assert page.evaluate("() => window.before === window.cacnet.lastResult")


def test_a_photograph_ends_the_camera(
    open_page, address, segment, result_of, photograph, file_of, assert_page_as_keras
):
    page = open_page(address, permissions=["camera"])
    page.click("#camera")
    result_of(page, "camera")
    image = photograph(HEIGHT, WIDTH)
    assert_page_as_keras(image, *segment(page, file_of(image)))
    page.get_by_text("Start camera").wait_for()
    page.wait_for_timeout(200)
    assert page.evaluate("() => window.cacnet.lastResult.name") == "photograph.png"


def test_another_model_segments_the_photograph_anew(
    open_page, address, segment, result_of, photograph, file_of, tmp_path
):
    page = open_page(address)
    segment(page, file_of(photograph(HEIGHT, WIDTH)))
    other = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)], name="other")
    page.set_input_files("#model-file", tflite(other, tmp_path / "other.tflite", size=(24, 32)))
    page.get_by_text("other.tflite: 24x32").wait_for()
    assert result_of(page, "photograph.png")[0].shape == (24, 32)


def test_any_server_and_any_folder_will_do(
    open_page, address, plain_address, segment, photograph, file_of, assert_page_as_keras
):
    assert "1 thread." not in open_page(address).inner_text("#status")
    page = open_page(plain_address)
    assert "CPU, 1 thread." in page.inner_text("#status")
    image = photograph(HEIGHT, WIDTH)
    assert_page_as_keras(image, *segment(page, file_of(image)))
