"""Models for serving and for devices, without Keras and without this package."""

from keras_cacnet.export.model_card import changed_files, model_card, read_model_card, write_model_card
from keras_cacnet.export.onnx import onnx
from keras_cacnet.export.saved_model import saved_model
from keras_cacnet.export.tflite import tflite
from keras_cacnet.export.verification import Verification, verify

__all__ = [
    "Verification",
    "changed_files",
    "model_card",
    "onnx",
    "read_model_card",
    "saved_model",
    "tflite",
    "verify",
    "write_model_card",
]
