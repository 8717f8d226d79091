"""Models for serving and for devices, without Keras and without this package."""

from keras_cacnet.export.onnx import onnx
from keras_cacnet.export.saved_model import saved_model
from keras_cacnet.export.tflite import tflite
from keras_cacnet.export.verification import Verification, verify

__all__ = ["Verification", "onnx", "saved_model", "tflite", "verify"]
