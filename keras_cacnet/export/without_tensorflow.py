"""Runs a TFLite file by LiteRT where neither TensorFlow nor this package can be imported, as a phone would.

Started as a process of its own: python without_tensorflow.py FILE.tflite IMAGES.npz RESULTS.npz
"""

import sys
from typing import Any

if __name__ == "__main__":
    # A name that maps to None cannot be imported: nothing of the model can come from Python code.
    for module in ("tensorflow", "keras", "tf_keras", "keras_cacnet"):
        sys.modules[module] = None  # type: ignore[assignment]

    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    file, images, results = sys.argv[1:]
    run = Interpreter(model_path=file).get_signature_runner("serving_default")
    expected = run.get_input_details()["images"]["shape_signature"]
    outputs: dict[str, list[np.ndarray]] = {}
    for name, batch in np.load(images).items():
        if any(side not in (-1, given) for side, given in zip(expected[1:], batch.shape[1:], strict=True)):
            sys.exit(f"the file takes images of {'x'.join(map(str, expected[1:3]))}, not {batch.shape[1:3]}")
        for image in batch:
            for output, value in run(images=image[None]).items():
                # A copy: the next image is computed in the same memory.
                outputs.setdefault(f"{name}/{output}", []).append(np.array(value[0]))
    arrays: dict[str, Any] = {name: np.stack(values) for name, values in outputs.items()}
    np.savez(results, **arrays)
