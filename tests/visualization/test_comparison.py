"""Figure 3: its columns, and what stands in them."""

import numpy as np
import pytest

from keras_cacnet.visualization import comparison, comparison_figure
from keras_cacnet.visualization.panels import label_map, panel_size


def test_a_row_per_image_and_a_column_per_network(coast, monkeypatch):
    calls = []
    figure = comparison.figure
    monkeypatch.setattr(comparison, "figure", lambda *arguments: calls.append(arguments) or figure(*arguments))
    rng = np.random.default_rng(0)
    sizes = [(30, 40), (50, 20)]
    images = [rng.integers(0, 256, (*size, 3)).astype("uint8") for size in sizes]
    columns = {
        title: [rng.choice([0, 1, 255], size).astype("uint8") for size in sizes] for title in ("Ground truth", "Ours")
    }
    page = comparison_figure(images, columns, coast)
    titles, rows, labels, _ = calls[0]
    assert titles == ["Image", "Ground truth", "Ours"]
    assert len(rows) == 2
    for index, (row, size) in enumerate(zip(rows, sizes, strict=True)):
        at = panel_size(*size, 3)
        assert row[0][0].picture.shape == (*at, 3)
        for title, panels in zip(titles[1:], row[1:], strict=True):
            np.testing.assert_array_equal(panels[0].picture, label_map(columns[title][index], coast, at))
    assert len(labels) == 4
    assert page.shape[1] < 2000


def test_what_does_not_fit_is_refused(coast):
    image, ids = np.zeros((8, 9, 3), "uint8"), np.zeros((8, 9), "uint8")
    with pytest.raises(ValueError, match="got 0 images and 1 columns"):
        comparison_figure([], {"Ours": []}, coast)
    with pytest.raises(ValueError, match="got 1 images and 0 columns"):
        comparison_figure([image], {}, coast)
    with pytest.raises(ValueError, match=r"image is \(8, 9\) and its class indices \(9, 8\)"):
        comparison_figure([image], {"Ours": [ids.T]}, coast)
    with pytest.raises(ValueError, match="received 2"):
        comparison_figure([image], {"Ours": [ids + 2]}, coast)
