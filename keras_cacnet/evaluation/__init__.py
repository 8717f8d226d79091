"""Scoring a model over a data set, predicting single images and files, and archives for test servers."""

from keras_cacnet.evaluation.fusion import fused_ids, score_blocks, scores
from keras_cacnet.evaluation.prediction import predict_ids, predict_probabilities
from keras_cacnet.evaluation.prediction_files import predict_files
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.evaluation.report import Report
from keras_cacnet.evaluation.saved_predictions import prediction_writer
from keras_cacnet.evaluation.scoring import evaluate

__all__ = [
    "Protocol",
    "Report",
    "evaluate",
    "fused_ids",
    "predict_files",
    "predict_ids",
    "predict_probabilities",
    "prediction_writer",
    "score_blocks",
    "scores",
]
