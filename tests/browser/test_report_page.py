"""The page of a run in a browser: on a phone and a desktop, by day and by night, without a network."""

import numpy as np
import pytest

from keras_cacnet.files import write_json
from keras_cacnet.report import write_report
from keras_cacnet.training import Recipe


@pytest.fixture(scope="module")
def report_page(tmp_path_factory):
    """The page of a run of twelve classes with long names, whose data is not there."""
    run = tmp_path_factory.mktemp("run")
    names = [f"a class with a long name {index}" for index in range(12)]
    classes = [{"id": index, "name": name, "color": [20 * index, 90, 120]} for index, name in enumerate(names)]
    write_json(run / "classes.json", {"classes": classes, "void_ids": []})
    config = {"recipe": Recipe().to_json(), "images": {"train": 400}, "steps_per_epoch": 25, "command": ["x" * 300]}
    write_json(run / "config.json", config)
    (run / "log.csv").write_text("epoch,loss,val_loss,val_mean_iou\n0,1.5,1.4,0.25\n1,1.25,1.3,0.5\n")
    confusion = np.random.default_rng(0).integers(0, 10**6, (12, 12))
    write_json(run / "validation.json", {"best": {"epoch": 1, "confusion": confusion.tolist()}})
    return write_report(run).as_uri()


def test_it_fits_the_screen_and_loads_nothing(chromium, report_page):
    grounds = set()
    for width in (390, 1280):
        for scheme in ("light", "dark"):
            context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
            page = context.new_page()
            requests = []
            page.on("request", lambda request, seen=requests: seen.append(request.url))
            page.goto(report_page)
            # What is wider scrolls by itself.
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert [url for url in requests if not url.startswith("data:")] == [report_page]
            colors = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
            svg_text = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
            assert svg_text == colors[1]
            grounds.add((scheme, *colors))
            context.close()
    assert len(grounds) == 2
    assert len({ground for _, ground, _ in grounds}) == 2
