"""Predicting images and files and scoring a model, one way: at one scale or many, whole or in windows."""

from keras_cacnet.evaluation.prediction import ids, score_blocks, scores, weighting_maps
from keras_cacnet.evaluation.prediction_files import predict_files, prediction_writer
from keras_cacnet.evaluation.protocol import WHOLE, Protocol
from keras_cacnet.evaluation.report import Report
from keras_cacnet.evaluation.scoring import evaluate

__all__ = [
    "WHOLE",
    "Protocol",
    "Report",
    "evaluate",
    "ids",
    "predict_files",
    "prediction_writer",
    "score_blocks",
    "scores",
    "weighting_maps",
]


def __dir__() -> list[str]:
    return sorted(__all__)
