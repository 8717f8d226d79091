"""What a TFLite file says of its input and outputs, in the form that MediaPipe, Android Studio and Netron read.

It is a flatbuffer of its own, of TFLite's metadata_schema.fbs, in a buffer of the file by the name TFLITE_METADATA. No
maintained package writes it (tflite-support asks for protobuf below 4, and in MediaPipe 1.2 the writer cannot be
imported), so its few tables are built here.
"""

from collections.abc import Mapping, Sequence

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

METADATA = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
# The version of the schema in which the last of the fields below came.
_PARSER = "1.0.0"

# Positions of fields in their tables, and values of enumerations, as in metadata_schema.fbs.
_MODEL = {"name": 0, "description": 1, "subgraphs": 3, "min_parser_version": 7}
_SUBGRAPH = {"inputs": 2, "outputs": 3}
_TENSOR = {"name": 0, "description": 1, "content": 3, "files": 6}
_CONTENT = {"kind": 0, "properties": 1}
_IMAGE_CONTENT, _RGB = 2, 1
_FILE = {"name": 0, "description": 1, "type": 2}
_AXIS_LABELS, _VALUE_LABELS = 2, 3

DESCRIPTIONS = {
    "images": "RGB in 0..255, as a camera or a decoder gives it; normalisation is in the file",
    "class_ids": "of every pixel the index of its likeliest class",
    "probabilities": "of every pixel the softmax over the classes",
}


def with_metadata(content: bytes, name: str, labels: str | None) -> bytes:
    """Add metadata to a TFLite file.

    Args:
        content: the file, with the signature of an export.
        name: of the model.
        labels: the file of the class names that the zip archive at its end will have; None for none.

    Returns:
        The file with the metadata; operators and weights are the same.

    Example:
        >>> import keras, tempfile
        >>> from pathlib import Path
        >>> from keras_cacnet.export import tflite
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)], name="small")
        >>> path = tflite(model, Path(tempfile.mkdtemp()) / "small.tflite")
        >>> b"TFLITE_METADATA" in path.read_bytes()
        True
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    # What loops repeat are further subgraphs.
    graph, (signature,) = model.subgraphs[0], model.signatureDefs
    names = {tensor.tensorIndex: tensor.name.decode() for tensor in (*signature.inputs, *signature.outputs)}
    buffer = schema.BufferT()
    made = metadata(name, [names[index] for index in graph.inputs], [names[index] for index in graph.outputs], labels)
    buffer.data = np.frombuffer(made, "uint8")
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def metadata(name: str, inputs: Sequence[str], outputs: Sequence[str], labels: str | None) -> bytes:
    """Write the flatbuffer of the metadata.

    Args:
        name: of the model.
        inputs: names of the inputs, in the order of the graph.
        outputs: names of the outputs, in the order of the graph, which may be another than that of a signature.
        labels: the file of the class names.

    Returns:
        The flatbuffer.
    """
    builder = flatbuffers.Builder()

    def text(value: str) -> int:
        return builder.CreateString(value)

    def vector(offsets: Sequence[int]) -> int:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    def table(fields: Mapping[str, int], offsets: Mapping[str, int], numbers: Mapping[str, int] | None = None) -> int:
        builder.StartObject(max(fields.values()) + 1)
        for field, offset in offsets.items():
            builder.PrependUOffsetTRelativeSlot(fields[field], offset, 0)
        for field, number in (numbers or {}).items():
            builder.PrependInt8Slot(fields[field], number, 0)
        return builder.EndObject()

    def tensor(name: str) -> int:
        offsets = {"name": text(name), "description": text(DESCRIPTIONS[name])}
        if name == "images":
            image = table({"color_space": 0}, {}, {"color_space": _RGB})
            offsets["content"] = table(_CONTENT, {"properties": image}, {"kind": _IMAGE_CONTENT})
        elif labels is not None:
            kind = _AXIS_LABELS if name == "probabilities" else _VALUE_LABELS
            said = {"name": text(labels), "description": text("a class name a line, in the order of the indices")}
            offsets["files"] = vector([table(_FILE, said, {"type": kind})])
        return table(_TENSOR, offsets)

    ends = {"inputs": vector([*map(tensor, inputs)]), "outputs": vector([*map(tensor, outputs)])}
    fields = {
        "name": text(name),
        "description": text("semantic segmentation: a class for every pixel"),
        "subgraphs": vector([table(_SUBGRAPH, ends)]),
        "min_parser_version": text(_PARSER),
    }
    builder.Finish(table(_MODEL, fields), _IDENTIFIER)
    return bytes(builder.Output())
