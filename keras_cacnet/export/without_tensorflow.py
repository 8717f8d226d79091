"""Runs a TFLite or an ONNX file where neither TensorFlow nor this package can be imported, as a phone would.

Started as a process of its own: python without_tensorflow.py FILE IMAGES.npz RESULTS.npz
"""

import sys
from collections.abc import Callable
from typing import Any

if __name__ == "__main__":
    # A name that maps to None cannot be imported: nothing of the model can come from Python code.
    for module in ("tensorflow", "keras", "tf_keras", "keras_cacnet"):
        sys.modules[module] = None  # type: ignore[assignment]

    import numpy as np

    def litert(file: str) -> tuple[list[Any], Callable[[np.ndarray], dict[str, np.ndarray]]]:
        """The shape that a file takes, and what runs it."""
        from ai_edge_litert.interpreter import Interpreter

        run = Interpreter(model_path=file).get_signature_runner("serving_default")
        shape = run.get_input_details()["images"]["shape_signature"]
        return [None if side == -1 else int(side) for side in shape], lambda images: run(images=images)

    def onnx_runtime(file: str) -> tuple[list[Any], Callable[[np.ndarray], dict[str, np.ndarray]]]:
        from onnxruntime import InferenceSession

        session = InferenceSession(file, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        shape = [side if isinstance(side, int) else None for side in session.get_inputs()[0].shape]
        return shape, lambda images: dict(zip(names, session.run(names, {"images": images}), strict=True))

    file, images, results = sys.argv[1:]
    expected, run = (onnx_runtime if file.endswith(".onnx") else litert)(file)
    outputs: dict[str, list[np.ndarray]] = {}
    for name, batch in np.load(images).items():
        if any(side not in (None, given) for side, given in zip(expected[1:], batch.shape[1:], strict=True)):
            sys.exit(f"the file takes images of {'x'.join(map(str, expected[1:3]))}, not {batch.shape[1:3]}")
        for image in batch:
            for output, value in run(image[None]).items():
                # A copy: the next image may be computed in the same memory.
                outputs.setdefault(f"{name}/{output}", []).append(np.array(value[0]))
    arrays: dict[str, Any] = {name: np.stack(values) for name, values in outputs.items()}
    np.savez(results, **arrays)
