"""Models for serving and for devices, without Keras and without this package."""

from keras_cacnet.export.card import card_paths, changed_files, model_card, read_model_card, write_model_card
from keras_cacnet.export.keras_comparison import TOLERANCES, Verification, verify
from keras_cacnet.export.tflite_quantization import CalibrationWarning
from keras_cacnet.export.to_onnx import onnx
from keras_cacnet.export.to_saved_model import MAX_PIXELS, saved_model
from keras_cacnet.export.to_tflite import TFLITE_PRECISIONS, tflite

__all__ = [
    "MAX_PIXELS",
    "TFLITE_PRECISIONS",
    "TOLERANCES",
    "CalibrationWarning",
    "Verification",
    "card_paths",
    "changed_files",
    "model_card",
    "onnx",
    "read_model_card",
    "saved_model",
    "tflite",
    "verify",
    "write_model_card",
]


def __dir__() -> list[str]:
    return sorted(__all__)
