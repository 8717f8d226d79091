"""Archives for the test servers, opened by tarfile, zipfile and Pillow alone."""

import io
import re
import tarfile
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

from keras_cacnet.datasets import Example, read_image
from keras_cacnet.evaluation import Protocol, ids
from keras_cacnet.layers.resize import ResizeLike
from keras_cacnet.paper import archive_form, require_submission, submission, write_submission
from keras_cacnet.paper.submission import read_archive, write_archive

MEMBERS = [("b/two.txt", b"two" * 1000), ("b/one.txt", b""), ("a.txt", bytes(range(256)))]
NAMES = {"tar": "notes.tar.gz", "zip": "notes.zip"}
IDS = ("2008_000006", "2008_000011", "2008_000012")
SIZES = ((21, 30), (34, 16), (40, 40))


def network(num_classes):
    """Every colour is nearest to some class, so that many of them are predicted."""
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(num_classes, 3, 2, padding="same", kernel_initializer=keras.initializers.GlorotNormal(1))(
        keras.layers.Rescaling(1 / 64, -2)(images)
    )
    return keras.Model(images, ResizeLike(2)([x, images]), name="small")


@pytest.fixture(scope="module")
def networks():
    return {"voc2012": network(21), "ade20k": network(150)}


def examples(names=IDS, prefix="voc2012/test/"):
    """Images alone, as of a test split; one is turned by EXIF."""
    made = []
    for seed, (name, size) in enumerate(zip(names, SIZES, strict=True)):
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype("uint8")
        exif, buffer = Image.Exif(), io.BytesIO()
        exif[0x0112] = 6 if seed == 1 else 1
        Image.fromarray(pixels).save(buffer, "JPEG", exif=exif)
        made.append(Example(f"{prefix}{name}", buffer.getvalue(), None))
    return made


def unpacked(path):
    """Names in their order, and the pictures."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {name: Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()}
    with tarfile.open(path) as archive:
        return {m.name: Image.open(io.BytesIO(archive.extractfile(m).read())) for m in archive}


def voc_color(index):
    """The label colour map as VOC's devkit defines it: bit 3k of the id is bit 7-k of red, and so on."""
    bits = [(index >> bit) & 1 for bit in range(8)]
    return [sum(bits[3 * k + channel] << (7 - k) for k in range(3) if 3 * k + channel < 8) for channel in range(3)]


def test_voc_takes_palette_pngs_in_its_folders(networks, tmp_path):
    path = tmp_path / "new" / "results.tgz"
    write_submission(networks["voc2012"], examples(), path, archive_form("voc2012"), progress=False)
    pictures = unpacked(path)
    assert list(pictures) == [f"results/VOC2012/Segmentation/comp6_test_cls/{name}.png" for name in IDS]
    for picture, example, size in zip(pictures.values(), examples(), SIZES, strict=True):
        assert (picture.format, picture.mode) == ("PNG", "P")
        assert picture.size == (size[::-1] if "11" not in example.name else size)
        assert picture.getpalette() == [value for index in range(256) for value in voc_color(index)]
        np.testing.assert_array_equal(np.asarray(picture), ids(networks["voc2012"], read_image(example.image)))
    assert len(np.unique(np.concatenate([np.asarray(picture).ravel() for picture in pictures.values()]))) > 5
    assert [file.name for file in path.parent.iterdir()] == ["results.tgz"]


def test_ade_takes_gray_pngs_of_ids_from_1_on(networks, tmp_path):
    names = [f"ADE_test_0000000{index}" for index in (1, 2, 3)]
    source = examples(names, "ade20k/test/")
    write_submission(networks["ade20k"], source, tmp_path / "a.zip", archive_form("ade20k"), progress=False)
    pictures = unpacked(tmp_path / "a.zip")
    assert list(pictures) == [f"{name}.png" for name in names]
    for picture, example in zip(pictures.values(), source, strict=True):
        assert (picture.format, picture.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(picture), ids(networks["ade20k"], read_image(example.image)) + 1)
        assert np.asarray(picture).min() >= 1


def test_files_are_as_the_data_sets_own_masks(shared_data):
    """Encoded anew, masks that the data sets come with are the same: ids, kind of PNG and palette."""
    voc = sorted((shared_data / "voc2012_sample" / "VOCdevkit" / "VOC2012" / "SegmentationClass").glob("*.png"))[:5]
    ade = sorted((shared_data / "ade20k" / "ADEChallengeData2016" / "annotations").glob("*/*.png"))
    for data, files in (("voc2012", voc), ("ade20k", ade)):
        form = archive_form(data)
        for path in files:
            with Image.open(path) as mask:
                ids = form.classes.to_training(np.asarray(mask), str(path))
                picture = Image.open(io.BytesIO(form.encode(ids)))
                assert (picture.mode, picture.size) == (mask.mode, mask.size)
                assert picture.getpalette() == mask.getpalette()
                labelled = ids != 255
                assert labelled.any()
                np.testing.assert_array_equal(np.asarray(picture)[labelled], np.asarray(mask)[labelled])


def test_the_protocol_is_followed(networks, tmp_path):
    protocol = Protocol((0.5, 1.0), flip=True, crop_size=24)
    form = archive_form("voc2012", "val", "comp5")
    write_submission(networks["voc2012"], examples(), tmp_path / "a.tgz", form, protocol, progress=False)
    pictures = unpacked(tmp_path / "a.tgz")
    assert next(iter(pictures)) == f"results/VOC2012/Segmentation/comp5_val_cls/{IDS[0]}.png"
    for picture, example in zip(pictures.values(), examples(), strict=True):
        expected = ids(networks["voc2012"], read_image(example.image), protocol)
        np.testing.assert_array_equal(np.asarray(picture), expected)


class Interrupted(list):
    """A split at whose last image the user presses Ctrl-C."""

    def __getitem__(self, index):
        if index == len(self) - 1:
            raise KeyboardInterrupt
        return super().__getitem__(index)


@pytest.mark.parametrize("before", [None, b"the former archive"])
def test_an_interruption_leaves_what_was_there(networks, tmp_path, before):
    path = tmp_path / "a.tgz"
    if before:
        path.write_bytes(before)
    with pytest.raises(KeyboardInterrupt):
        write_submission(networks["voc2012"], Interrupted(examples()), path, archive_form("voc2012"), progress=False)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([before] if before else [])


def test_a_defect_of_what_was_written_leaves_no_archive(networks, tmp_path, monkeypatch):
    """Whatever goes wrong in encoding, reading back finds it."""
    encode = submission.ArchiveForm.encode
    for broken, told in (
        (lambda form, ids: encode(form, ids)[:600], "cannot be opened (Truncated"),
        (lambda form, ids: encode(form, ids[1:]), "is 30x20 pixels, its image 30x21"),
        (lambda form, ids: encode(form, np.full_like(ids, 255)), "has the id 255; those of voc2012 are 0 to 20"),
    ):
        monkeypatch.setattr(submission.ArchiveForm, "encode", broken)
        with pytest.raises(ValueError, match=re.escape(f"{IDS[0]}.png") + ".*" + re.escape(told)):
            write_submission(
                networks["voc2012"], examples(), tmp_path / "a.tgz", archive_form("voc2012"), progress=False
            )
        assert list(tmp_path.iterdir()) == []


def handmade(form, source, change):
    """Members of a right archive, changed."""
    members = []
    for example in source:
        with Image.open(io.BytesIO(example.image)) as image:
            size = image.size[::-1] if image.getexif().get(0x0112) == 6 else image.size
        picture = Image.new("P", size, 3)
        picture.putpalette([value for index in range(256) for value in voc_color(index)])
        members.append([form.member(example), picture])
    return [(name, png(picture)) for name, picture in change(members)]


def png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def renamed(members):
    members[1][0] = members[1][0].replace("_000011", "_000010")
    return members


def in_gray(members):
    members[1][1] = Image.fromarray(np.asarray(members[1][1]))
    return members


def recoloured(members):
    members[1][1].putpalette([0, 0, 9] * 256)
    return members


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: m, None),
        (lambda m: m[:1], rf"results/.*/{IDS[1]}.png is missing, and 1 after it"),
        (lambda m: [*m, ["results/README", m[0][1]]], "results/README is no image of the split, which has 3"),
        (lambda m: [m[1], m[0], m[2]], rf"file 1 is .*{IDS[1]}.png, expected .*{IDS[0]}.png"),
        (renamed, rf"file 2 is .*2008_000010.png, expected .*{IDS[1]}.png"),
        (in_gray, rf"results/.*/{IDS[1]}.png is PNG L, expected PNG P"),
        (recoloured, rf"results/.*/{IDS[1]}.png has another palette than voc2012"),
    ],
)
def test_reading_back_finds(tmp_path, change, told):
    form, source = archive_form("voc2012"), examples()
    write_archive(tmp_path / "a.tgz", "tar", handmade(form, source, change))
    if told is None:
        require_submission(tmp_path / "a.tgz", source, form)
    else:
        with pytest.raises(ValueError, match=f"a.tgz: {told}"):
            require_submission(tmp_path / "a.tgz", source, form)


def test_bad_input_is_refused_before_anything_is_predicted(networks, tmp_path):
    form = archive_form("voc2012")
    with pytest.raises(ValueError, match=r"the server of voc2012 takes .tgz or .tar.gz; .*a.zip does not end so"):
        write_submission(networks["voc2012"], examples(), tmp_path / "a.zip", form)
    with pytest.raises(ValueError, match=r"no images to predict in this split of voc2012"):
        write_submission(networks["voc2012"], [], tmp_path / "a.tgz", form)
    with pytest.raises(ValueError, match=r"predicts 150 classes, the class table has 21"):
        write_submission(networks["ade20k"], examples(), tmp_path / "a.tgz", form)
    (tmp_path / "folder.tgz").mkdir()
    with pytest.raises(ValueError, match=r"folder.tgz is a folder"):
        write_submission(networks["voc2012"], examples(), tmp_path / "folder.tgz", form)
    broken = [*examples()[:2], Example("voc2012/test/2008_000012", b"no image", None)]
    with pytest.raises(ValueError, match=r"voc2012/test/2008_000012 \(image\): "):
        write_submission(networks["voc2012"], broken, tmp_path / "a.tgz", form, progress=False)
    for words in (("cityscapes",), ("voc2012", "train"), ("voc2012", "test", "comp3")):
        with pytest.raises(ValueError, match=words[-1]):
            archive_form(*words)
    assert [file.name for file in tmp_path.iterdir()] == ["folder.tgz"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_members_keep_names_order_and_content(kind, tmp_path):
    path = tmp_path / NAMES[kind]
    write_archive(path, kind, iter(MEMBERS))
    if kind == "tar":
        with tarfile.open(path, "r:gz") as archive:
            assert [(m.name, archive.extractfile(m).read()) for m in archive] == MEMBERS
    else:
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert [(name, archive.read(name)) for name in archive.namelist()] == MEMBERS
    assert list(read_archive(path, kind)) == MEMBERS


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_what_is_damaged_is_told(kind, tmp_path):
    path = tmp_path / NAMES[kind]
    write_archive(path, kind, MEMBERS)
    whole = path.read_bytes()
    for broken in (b"", b"no archive", whole[: len(whole) // 2]):
        path.write_bytes(broken)
        with pytest.raises(
            ValueError, match=f"{path.name} cannot be read as .{path.suffix[1:]}|cannot be read as .tgz"
        ):
            list(read_archive(path, kind))


def test_folders_are_left_out(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("x")
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as archive:
        archive.add(tmp_path / "a", "a")
    assert list(read_archive(tmp_path / "x.tgz", "tar")) == [("a/x.txt", b"x")]


def test_the_home_folder_is_meant_by_a_tilde(networks, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    form = archive_form("voc2012")
    write_submission(networks["voc2012"], examples(), "~/results/a.tgz", form, progress=False)
    require_submission("~/results/a.tgz", examples(), form)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
