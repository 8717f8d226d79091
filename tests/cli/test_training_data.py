"""`keras-cacnet train` on a folder in another form, which is imported beside the run."""

import numpy as np
import pytest
from PIL import Image

from keras_cacnet.cli import main
from keras_cacnet.datasets import read_example
from keras_cacnet.training import Run
from small_networks import small_networks

SMALL = (
    "--verbose 0 --no-report --set backbone=resnet14_narrow weights=none head_channels=8 crop_size=32 batch_size=2 "
    "epochs=1 learning_rate=0.01"
).split()


@pytest.fixture
def cracks(tmp_path):
    """Flat folders, masks of 0 and 255: nothing that is trained on as it is."""
    root = tmp_path / "cracks"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number in range(10):
        mask = np.zeros((40, 48), "uint8")
        mask[20 + number :] = 255
        Image.fromarray(np.repeat(mask[..., None] // 2 + 60, 3, -1)).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    return root


def test_one_command_imports_and_trains_and_goes_on(cracks, tmp_path, capsys):
    before = sorted(cracks.rglob("*"))
    output = tmp_path / "run"
    words = ["train", "--data", str(cracks), "--output", str(output), *SMALL]
    with small_networks():
        assert main(words) == 0
        printed = capsys.readouterr().out
        assert f"{cracks} is not in the standard layout, so it is imported into {output}-data first" in printed
        assert f"{output}-data: 10 images (train 8, val 1, test 1), 2 classes: background, foreground" in printed
        assert f"next: keras-cacnet evaluate {output} --data {output}-data --split val" in printed
        assert Run(output).config["data"] == f"{output}-data"
        assert main([*words, "--resume"]) == 0
        assert main(["train", "--output", str(output), "--resume", "--verbose", "0", "--no-report"]) == 0
    assert sorted(cracks.rglob("*")) == before
    capsys.readouterr()
    assert main(["evaluate", str(output), "--data", f"{output}-data"]) == 0
    assert "foreground" in capsys.readouterr().out


def test_the_run_trains_on_what_was_imported(cracks, tmp_path, monkeypatch):
    jobs = []
    monkeypatch.setattr("keras_cacnet.training.train", lambda job, strategy, verbose: jobs.append(job))
    assert main(["train", "--data", str(cracks), "--output", f"{tmp_path / 'run'}/", *SMALL]) == 0
    data = jobs[0].dataset
    found = {one.name: read_example(one, data.classes)[1] for split in data.splits for one in data.source(split)}
    for number in range(10):
        np.testing.assert_array_equal(found[str(number)] == 1, np.arange(40)[:, None] >= np.full(48, 20 + number))


def test_what_is_no_data_set_is_refused(cracks, tmp_path, capsys):
    words = ["train", "--output", str(tmp_path / "run"), *SMALL]
    assert main([*words, "--data", str(cracks / "images")]) == 2
    assert "images: no known form of data set (10 files, 10 of them images)" in capsys.readouterr().err
    # What is wrong within the standard layout is not imported away.
    standard = tmp_path / "standard"
    (standard / "images" / "train").mkdir(parents=True)
    (standard / "classes.txt").write_text("0 sky blue\n")
    assert main([*words, "--data", str(standard)]) == 2
    assert "classes.txt" in capsys.readouterr().err
    assert not (tmp_path / "run-data").exists()
