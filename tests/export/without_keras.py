"""Answers calls of a SavedModel's signatures where neither Keras nor this package can be imported.

Started as a process of its own: python without_keras.py SAVED_MODEL. It reads pickled pairs of a signature's name and
the array for its one input, and writes pickled dictionaries of arrays, or the text of the error.
"""

import sys

if __name__ == "__main__":
    # A name that maps to None cannot be imported: nothing of the model can come from Python code.
    for module in ("keras", "tf_keras", "keras_cacnet"):
        sys.modules[module] = None

    import pickle

    import tensorflow as tf

    # Held until the end: the functions of a loaded model do not keep its variables alive.
    loaded = tf.saved_model.load(sys.argv[1])
    while True:
        try:
            signature, value = pickle.load(sys.stdin.buffer)
        except EOFError:
            break
        serve = loaded.signatures[signature]
        (spec,) = serve.structured_input_signature[1].values()
        try:
            answer = serve(**{spec.name: tf.constant(value, spec.dtype)})
            answer = {name: tensor.numpy() for name, tensor in answer.items()}
        except tf.errors.InvalidArgumentError as error:
            answer = str(error)
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()
