"""The folder that is written: whole or unfinished, never mistaken, gone on with, the source untouched."""

import json
import unicodedata

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.cli import main
from keras_cacnet.datasets import Folder, import_folder, read_image
from keras_cacnet.datasets.importing import writing
from keras_cacnet.datasets.importing.writing import unique_names


@pytest.fixture
def source(drawn, tmp_path):
    drawn.write_images(tmp_path / "source" / "images", suffix=".png")
    drawn.write_masks(tmp_path / "source" / "masks")
    (tmp_path / "source" / "masks" / "scene_9.png").write_bytes(b"broken")
    return tmp_path / "source"


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_break_loses_nothing(source, tmp_path, monkeypatch, snapshot):
    """Killed after four files: no data set yet; the same call writes the rest, and the end is that of one run."""
    before = snapshot(source)
    whole = import_folder(source, tmp_path / "whole", progress=False)
    write, written = writing.Target._write, []

    def failing(self, item, split, name):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(item.path)
        return write(self, item, split, name)

    broken = tmp_path / "broken"
    monkeypatch.setattr(writing.Target, "_write", failing)
    with pytest.raises(KeyboardInterrupt):
        import_folder(source, broken, progress=False)
    with pytest.raises(ValueError, match=r"classes\.txt is missing"):
        Folder(broken)
    # What a kill leaves of a line.
    with (broken / ".import.jsonl").open("a") as journal:
        journal.write('{"path": "images/sce')
    again = []
    monkeypatch.setattr(writing.Target, "_write", lambda *one: again.append(one[1].path) or write(*one))
    report = import_folder(source, broken, progress=False)
    assert set(again).isdisjoint(written[:3])
    assert len(again) < 9
    assert report.splits == whole.splits
    assert report.findings == whole.findings
    expected, found = contents(tmp_path / "whole"), contents(broken)
    assert expected.keys() == found.keys()
    assert {p: b for p, b in found.items() if p.name != "import.json"} == {
        p: b for p, b in expected.items() if p.name != "import.json"
    }
    again.clear()
    assert import_folder(source, broken, progress=False) == report
    assert again == []
    assert snapshot(source) == before


def test_ctrl_c_says_how_to_go_on(source, tmp_path, monkeypatch, capsys):
    def interrupted(*one):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.Target, "_write", interrupted)
    assert main(["import", str(source), "--output", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "\ninterrupted; what was written is kept: the same command goes on\n"


def test_an_import_of_something_else_is_not_written_over(source, tmp_path):
    import_folder(source, tmp_path / "out", progress=False)
    for options in ({"seed": 1}, {"split": (0.5, 0.5)}, {"classes": ["a", "b", "c"]}):
        with pytest.raises(ValueError, match="or an import of other files or with other choices; name a new folder"):
            import_folder(source, tmp_path / "out", progress=False, **options)
    (source / "masks" / "scene_9.png").unlink()
    with pytest.raises(ValueError, match="an import of other files"):
        import_folder(source, tmp_path / "out", progress=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="mine: holds other files"):
        import_folder(source, tmp_path / "mine", progress=False)
    for inside in (source, source / "out"):
        with pytest.raises(ValueError, match="is in the source, .*, which is only read"):
            import_folder(source, inside, progress=False)


def test_report_beside_the_set(source, tmp_path):
    report = import_folder(source, tmp_path / "out", progress=False)
    saved = json.loads((tmp_path / "out" / "import.json").read_text())
    assert saved["splits"] == report.splits == {"train": 7, "val": 1, "test": 1}
    (finding,) = saved["findings"]
    assert finding["where"] == str(source / "masks" / "scene_9.png")
    assert finding["message"].startswith("left out: not an image that can be read")
    text = report.to_text()
    assert text.startswith(f"{tmp_path / 'out'}: 9 images (train 7, val 1, test 1), 3 classes: class_0, class_1, cl")
    assert str(finding["where"]) in text


def test_images_are_copied_or_become_png(drawn, tmp_path):
    """Formats that the folder reads keep their bytes; a GIF becomes PNG; 16-bit TIFF stays, read by its upper 8."""
    source = tmp_path / "source"
    drawn.write_masks(source / "masks")
    (source / "images").mkdir()
    kinds = (".jpg", ".PNG", ".tif", ".bmp", ".webp", ".gif", ".JPEG", ".tiff", ".ppm", ".png")
    for (name, pixels), suffix in zip(drawn.images.items(), kinds, strict=True):
        Image.fromarray(pixels).save(source / "images" / f"{name}{suffix}")
    deep = np.arange(64 * 70, dtype="uint16").reshape(64, 70) * 14
    Image.fromarray(deep).save(source / "images" / "scene_2.tif")
    import_folder(source, tmp_path / "out", progress=False)
    data = Folder(tmp_path / "out")
    found = {e.name: e.image for split in data.splits for e in data.source(split)}
    for path in (source / "images").iterdir():
        copy = found[path.stem]
        np.testing.assert_array_equal(read_image(copy), read_image(path))
        if path.suffix in (".gif", ".ppm"):
            assert copy.suffix == ".png"
        else:
            assert copy.read_bytes() == path.read_bytes()
            assert copy.suffix == path.suffix.lower().replace(".jpeg", ".jpg").replace(".tiff", ".tif")
    np.testing.assert_array_equal(read_image(found["scene_2"])[..., 0], deep >> 8)


def test_names_in_any_form_of_unicode(drawn, tmp_path):
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    (source / "masks").mkdir()
    for name, pixels, mask in zip(("été", "가", "ü"), drawn.images.values(), drawn.masks.values(), strict=False):
        Image.fromarray(pixels).save(source / "images" / f"{unicodedata.normalize('NFD', name)}.png")
        Image.fromarray(mask).save(source / "masks" / f"{unicodedata.normalize('NFC', name)}_mask.png")
    report = import_folder(source, tmp_path / "out", progress=False)
    assert report.findings == ()
    data = Folder(tmp_path / "out")
    assert {e.name for split in data.splits for e in data.source(split)} == {"été", "가", "ü"}


def test_links_that_lead_back_are_not_followed(source, tmp_path):
    (source / "images" / "again").symlink_to(source)
    assert import_folder(source, tmp_path / "out", progress=False).splits == {"train": 7, "val": 1, "test": 1}


def test_names_that_would_meet():
    assert unique_names(["a/b.png", "a_b.png", "A_B.jpg", "c.png"]) == ["b", "a_b", "A_B_2", "c"]
    assert unique_names(["x/1.png", "y/1.png"]) == ["x_1", "y_1"]


def test_home_folder_and_command_line(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["import", "~/source", "--output", "~/my set", "--split", "0.6,0.2,0.2", "--seed", "3"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "in masks (such as scene_0.png); ids 0, 1, 2 without names (a classes.txt in the source would" in out
    assert "9 images (train 5, val 2, test 2)" in out
    # No terminal: a line, no backspaces.
    assert "writing: 9 of 9 files\n" in out
    assert "\b" not in out
    assert "\r" not in out
    assert "keras-cacnet check --data '~/my set'" in out
    assert main(["check", "--data", str(tmp_path / "my set")]) == 0
    capsys.readouterr()
    assert main([*words[:4], "--split", "0.6,0.2"]) == 2
    assert "the shares of split must add up to 1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words[:4], "--split", "most"])
    assert "'most' is no list of shares such as 0.8,0.1,0.1" in capsys.readouterr().err
