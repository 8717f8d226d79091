import sys

import numpy as np

from keras_cacnet.visualization import History


def test_a_history_is_a_table_in_a_notebook_a_figure_and_a_data_frame(tmp_path, monkeypatch):
    log = tmp_path / "log.csv"
    log.write_text("epoch,loss,val_mean_iou\n1,1.2,0.31\n0,1.5,\n1,1.25,0.3125\n2,0.")
    history = History(log)
    assert history.epochs == {0: {"loss": 1.5}, 1: {"loss": 1.25, "val_mean_iou": 0.3125}}
    shown = history._repr_html_()
    assert [shown.count(text) for text in ("<tr>", "<td>1.25</td>", "<td>0.3125</td>", "<td></td>")] == [3, 1, 1, 1]
    assert [axes.get_ylabel() for axes in history.plot().axes] == ["loss", "score"]
    frames = []
    members = {"DataFrame": lambda rows, index: frames.append((rows, index)), "Index": lambda names, name: names}
    monkeypatch.setitem(sys.modules, "pandas", type("pandas", (), members))
    history.to_dataframe()
    ((columns, index),) = frames
    assert index == [1, 2]
    np.testing.assert_array_equal(columns["loss"], [1.5, 1.25])
    np.testing.assert_array_equal(columns["val_mean_iou"], [np.nan, 0.3125])
