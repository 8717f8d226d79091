"""Runs an export where Keras and this package cannot be imported, as a server or a phone would.

Started as a process of its own: python run_without_keras.py EXPORT IMAGES.npz RESULTS.npz
"""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

if __name__ == "__main__":
    export, images, results = sys.argv[1:]
    is_file = os.path.isfile(export)
    # A name that maps to None cannot be imported: nothing of the model can come from Python code. Of a file nothing can
    # come from TensorFlow either.
    for module in ("keras", "tf_keras", "keras_cacnet", *(["tensorflow"] if is_file else [])):
        sys.modules[module] = None  # type: ignore[assignment]

    import numpy as np

    Outputs = dict[str, np.ndarray]

    def by_tensorflow(folder: str, batches: dict[str, np.ndarray]) -> Iterator[tuple[str, Outputs]]:
        import tensorflow as tf

        # Held until the end: the functions of a loaded model do not keep its variables alive.
        loaded = tf.saved_model.load(folder)
        alone = loaded.signatures.get("serve_class_ids")
        for name, batch in batches.items():
            images = tf.constant(batch)
            answer = loaded.signatures["serving_default"](images=images)
            if alone is not None:
                answer["serve_class_ids/class_ids"] = alone(images=images)["class_ids"]
            yield name, {output: value.numpy() for output, value in answer.items()}

    def litert(file: str) -> tuple[list[Any], Callable[[np.ndarray], Outputs]]:
        """Give the shape that a file takes, and what runs it."""
        from ai_edge_litert.interpreter import Interpreter

        run = Interpreter(model_path=file).get_signature_runner("serving_default")
        shape = run.get_input_details()["images"]["shape_signature"]
        return [None if side == -1 else int(side) for side in shape], lambda images: run(images=images)

    def onnx_runtime(file: str) -> tuple[list[Any], Callable[[np.ndarray], Outputs]]:
        from onnxruntime import InferenceSession

        session = InferenceSession(file, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        shape = [side if isinstance(side, int) else None for side in session.get_inputs()[0].shape]
        return shape, lambda images: dict(zip(names, session.run(names, {"images": images}), strict=True))

    def by_runtime(file: str, batches: dict[str, np.ndarray]) -> Iterator[tuple[str, Outputs]]:
        expected, run = (onnx_runtime if file.endswith(".onnx") else litert)(file)
        for name, batch in batches.items():
            if any(side not in (None, given) for side, given in zip(expected[1:], batch.shape[1:], strict=True)):
                sys.exit(f"the file takes images of {'x'.join(map(str, expected[1:3]))}, not {batch.shape[1:3]}")
            # A copy: the next image may be computed in the same memory.
            answers = [{output: np.array(value[0]) for output, value in run(image[None]).items()} for image in batch]
            yield name, {output: np.stack([answer[output] for answer in answers]) for output in answers[0]}

    given = dict(np.load(images))
    answered = (by_runtime if is_file else by_tensorflow)(export, given)
    arrays: dict[str, Any] = {
        f"{name}/{output}": value for name, answer in answered for output, value in answer.items()
    }
    np.savez(results, **arrays)
