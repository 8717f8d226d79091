"""Runs a SavedModel where neither Keras nor this package can be imported, as a server would.

Started as a process of its own: python without_keras.py SAVED_MODEL IMAGES.npz RESULTS.npz
"""

import sys

if __name__ == "__main__":
    # A name that maps to None cannot be imported: nothing of the model can come from Python code.
    for module in ("keras", "tf_keras", "keras_cacnet"):
        sys.modules[module] = None  # type: ignore[assignment]

    import numpy as np
    import tensorflow as tf

    saved_model, images, results = sys.argv[1:]
    # Held until the end: the functions of a loaded model do not keep its variables alive.
    loaded = tf.saved_model.load(saved_model)
    serve = loaded.signatures["serving_default"]
    outputs = {}
    for name, batch in np.load(images).items():
        for output, value in serve(images=tf.constant(batch)).items():
            outputs[f"{name}/{output}"] = value.numpy()
    np.savez(results, **outputs)
