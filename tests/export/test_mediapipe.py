"""TFLite files in MediaPipe's ImageSegmenter, which runs them on phones, and their metadata by its own classes."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.export import tflite

SEGMENT = """
import sys
for module in ("tensorflow", "keras", "keras_cacnet"):
    sys.modules[module] = None
import numpy as np
import mediapipe
from mediapipe.tasks.python import BaseOptions, vision

path, image, result = sys.argv[1:]
options = vision.ImageSegmenterOptions(BaseOptions(path), output_category_mask=True, output_confidence_masks=True)
with vision.ImageSegmenter.create_from_options(options) as segmenter:
    found = segmenter.segment(mediapipe.Image(mediapipe.ImageFormat.SRGB, np.load(image)))
    masks = [mask.numpy_view().reshape(mask.height, mask.width) for mask in found.confidence_masks]
    ids = found.category_mask
    np.savez(result, ids=ids.numpy_view().reshape(ids.height, ids.width), probabilities=np.stack(masks, axis=-1))
    print(*segmenter.labels, sep="\\n")
"""

READ = """
import sys
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema, schema_py_generated as tflite

for path in sys.argv[1:]:
    content = open(path, "rb").read()
    model = tflite.Model.GetRootAs(content)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == b"TFLITE_METADATA":
            buffer = bytes(model.Buffers(entry.Buffer()).DataAsNumpy())
    assert schema.ModelMetadata.ModelMetadataBufferHasIdentifier(buffer, 0)
    read = schema.ModelMetadataT.InitFromPackedBuf(buffer)
    (graph,) = read.subgraphMetadata
    names = {value: name for name, value in vars(schema.AssociatedFileType).items() if isinstance(value, int)}
    for tensor in (*graph.inputTensorMetadata, *graph.outputTensorMetadata):
        files = [f"{file.name.decode()} {names[file.type]}" for file in tensor.associatedFiles or []]
        print(tensor.name.decode(), *files)
    image = graph.inputTensorMetadata[0].content
    assert image.contentPropertiesType == schema.ContentProperties.ImageProperties
    assert image.contentProperties.colorSpace == schema.ColorSpaceType.RGB
    graph = model.Subgraphs(0)
    shapes = [graph.Tensors(graph.Outputs(index)).ShapeAsNumpy().size for index in range(graph.OutputsLength())]
    print(read.name.decode(), read.minParserVersion.decode(), shapes)
"""


TEXT = (Path(__file__).resolve().parents[2] / "docs" / "delivery.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(import mediapipe\n.*?)```", TEXT, re.DOTALL)


def run(python, program, *arguments, folder=None):
    command = [python, "-c", program, *arguments]
    process = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=folder)
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout.splitlines()


@pytest.fixture(scope="module")
def five_classes():
    names = ("sky", "sea", "palm tree", "sand", "été")
    return ClassTable(names, tuple((index, 0, 0) for index in range(5)), ids=tuple(range(5)))


def test_a_file_for_one_size_is_what_mediapipe_takes(
    mediapipe_python, cacnet, five_classes, photograph, assert_as_keras, tmp_path
):
    path = tflite(cacnet, tmp_path / "cacnet.tflite", five_classes, size=(64, 96))
    image = photograph(64, 96)
    np.save(tmp_path / "image.npy", image)
    labels = run(mediapipe_python, SEGMENT, path, tmp_path / "image.npy", tmp_path / "found.npz")
    assert tuple(labels) == five_classes.names
    with np.load(tmp_path / "found.npz") as found:
        assert found["ids"].dtype == np.uint8
        assert_as_keras(image[np.newaxis], found["ids"][np.newaxis].astype("int32"), found["probabilities"][np.newaxis])


def test_the_example_of_the_documentation(mediapipe_python, model, classes, photograph, file_of, tmp_path):
    tflite(model, tmp_path / "cacnet.tflite", classes, size=(40, 52))
    (tmp_path / "photograph.jpg").write_bytes(file_of(photograph(60, 90), "JPEG"))
    assert run(mediapipe_python, EXAMPLE, folder=tmp_path) == ["['sky', 'sea', 'palm tree'] (60, 90, 1)"]


def test_the_metadata_is_of_the_published_schema(mediapipe_python, model, classes, tmp_path):
    labelled = tflite(model, tmp_path / "labelled.tflite", classes)
    bare = tflite(model, tmp_path / "bare.tflite")
    assert run(mediapipe_python, READ, labelled, bare) == [
        "images",
        "class_ids labels.txt TENSOR_VALUE_LABELS",
        "probabilities labels.txt TENSOR_AXIS_LABELS",
        # The outputs in the order of the graph: ids have three dimensions, probabilities four.
        "small 1.0.0 [3, 4]",
        "images",
        "class_ids",
        "probabilities",
        "small 1.0.0 [3, 4]",
    ]
