"""The operators of a TFLite file, read from its flatbuffer without running it."""

from collections.abc import Iterator
from dataclasses import dataclass

from tensorflow.lite.python import schema_py_generated as schema

_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_TYPES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}


@dataclass(frozen=True)
class Operator:
    """One step of a TFLite file.

    Args:
        kind: as TFLite calls it, `CONV_2D`; of one that is not built in, its own name.
        builtin: whether every TFLite runtime has it.
        dtype: of its first result, `FLOAT32`, `INT8`.
        name: of its first result, which has the names of the Keras layers that it comes from.
        inputs: the tensors that it reads, by number; without the optional ones that are left out.
        outputs: the tensors that it writes.
        computed: those of `inputs` that are no constants of the file.
    """

    kind: str
    builtin: bool
    dtype: str
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    computed: tuple[int, ...]


def operators(content: bytes) -> list[Operator]:
    """List the operators of a TFLite file in the order in which they run, those of subgraphs at the end.

    Args:
        content: the file.

    Returns:
        The operators.

    Example:
        >>> import keras, tempfile
        >>> from pathlib import Path
        >>> from keras_cacnet.export import tflite
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
        >>> path = tflite(model, Path(tempfile.mkdtemp()) / "small.tflite")
        >>> sorted(operator.kind for operator in operators(path.read_bytes()))
        ['ARG_MAX', 'CAST', 'CONV_2D', 'SOFTMAX']
    """
    model = schema.Model.GetRootAs(content)
    return [found for index in range(model.SubgraphsLength()) for found in _of_graph(model, model.Subgraphs(index))]


def _of_graph(model: schema.Model, graph: schema.SubGraph) -> Iterator[Operator]:
    tensors = [graph.Tensors(index) for index in range(graph.TensorsLength())]
    constant = {index for index, tensor in enumerate(tensors) if model.Buffers(tensor.Buffer()).DataLength() > 0}
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        # Old files have the code in one field, new ones in the other.
        kind = _OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        builtin = kind != "CUSTOM"
        inputs = tuple(number for at in range(operator.InputsLength()) if (number := operator.Inputs(at)) >= 0)
        outputs = tuple(operator.Outputs(at) for at in range(operator.OutputsLength()))
        yield Operator(
            kind=kind if builtin else code.CustomCode().decode(),
            builtin=builtin,
            dtype=_TYPES[tensors[outputs[0]].Type()],
            name=tensors[outputs[0]].Name().decode(),
            inputs=inputs,
            outputs=outputs,
            computed=tuple(number for number in inputs if number not in constant),
        )
