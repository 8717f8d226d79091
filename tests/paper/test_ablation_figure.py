"""What is drawn of an ablation, against the scores."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy import stats

from keras_cacnet.evaluation import Protocol
from keras_cacnet.paper import ablate, draw, plan, to_json
from keras_cacnet.paper.costs import Cost

HITS = {"none": (410, 452, 441), "cac": (420, 460, 450)}


@pytest.fixture
def values(bench, base):
    bench.scores = lambda recipe, protocol: HITS[recipe.reweighting][recipe.seed]
    laid = plan(6, base, Protocol(), ["None", "Ours"])
    costs = {"None": Cost(3_000_000, 10**9), "Ours": Cost(4_000_000, 2 * 10**9)}
    return to_json(ablate(laid, bench.runs, [0, 1, 2]), {"data": "coast"}, costs)


def test_points_means_intervals_and_costs(values, tmp_path, monkeypatch):
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), save(self, *a, **k)))
    draw(values, tmp_path / "table.png")
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
    scores, multiply_adds, parameters = saved[0].axes  # no run recorded its seconds
    assert [label.get_text() for label in scores.get_yticklabels()] == ["None †", "Ours"]
    for place, name in enumerate(HITS):
        hits = np.array(HITS[name]) / 10
        np.testing.assert_allclose(
            scores.collections[place].get_offsets(), np.stack([hits, [place] * 3], 1), rtol=1e-12
        )
        interval, mean = scores.lines[2 * place : 2 * place + 2]
        np.testing.assert_allclose(
            interval.get_xdata(), stats.ttest_1samp(hits, 0).confidence_interval(0.95), rtol=1e-9
        )
        np.testing.assert_allclose(mean.get_xdata(), [hits.mean()], rtol=1e-12)
    assert [bar.get_width() for bar in multiply_adds.patches] == [1, 2]
    assert [bar.get_width() for bar in parameters.patches] == [3, 4]
    grey, blue = (to_rgb(bar.get_facecolor()[:3]) for bar in multiply_adds.patches)
    assert grey == to_rgb("0.5")
    assert blue == to_rgb("C0")


def test_nothing_to_draw(bench, base, tmp_path):
    bench.runs.scored_only = True
    empty = to_json(ablate(plan(6, base, Protocol(), ["Ours"]), bench.runs, [0]), {})
    with pytest.raises(ValueError, match="Table 6 has no score yet"):
        draw(empty, tmp_path / "table.png")
    assert not (tmp_path / "table.png").exists()
