"""Answers TensorFlow Serving's Predict, by REST and by gRPC, where neither Keras nor this package can be imported.

A stand-in for tests, not a server: it knows the requests of docs/serving.md, in the form that TensorFlow Serving's
documentation gives them, and no others. Started as a process of its own: python predict_server.py SAVED_MODEL. It
prints its two ports as JSON (that of gRPC is null without TensorFlow Serving's messages) and ends when its standard
input does.
"""

import sys

if __name__ == "__main__":
    # A name that maps to None cannot be imported: nothing of the model can come from Python code.
    for module in ("keras", "tf_keras", "keras_cacnet"):
        sys.modules[module] = None

    import base64
    import json
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    import numpy as np
    import tensorflow as tf

    loaded = tf.saved_model.load(sys.argv[1])

    def predict(signature, inputs):
        """Call a signature with arrays by name, which must be those of its inputs."""
        serve = loaded.signatures[signature or "serving_default"]
        specs = serve.structured_input_signature[1]
        if inputs.keys() != specs.keys():
            raise ValueError(f"inputs are {sorted(specs)}, got {sorted(inputs)}")
        tensors = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
        return {name: tensor.numpy() for name, tensor in serve(**tensors).items()}

    def unwrapped(value):
        """Bytes for {"b64": ...}, wherever it stands."""
        if isinstance(value, list):
            return [unwrapped(item) for item in value]
        if isinstance(value, dict):
            return base64.b64decode(value["b64"], validate=True)
        return value

    def answer(body):
        """A predict request of the REST API: rows in `instances`, or columns in `inputs`."""
        signature = body.get("signature_name", "serving_default")
        (only,) = loaded.signatures[signature].structured_input_signature[1]
        if "instances" in body:
            rows = body["instances"]
            if isinstance(rows[0], dict) and rows[0].keys() != {"b64"}:
                inputs = {name: unwrapped([row[name] for row in rows]) for name in rows[0]}
            else:
                inputs = {only: unwrapped(rows)}
            outputs = {name: value.tolist() for name, value in predict(signature, inputs).items()}
            return {
                "predictions": [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
            }
        columns = body["inputs"] if isinstance(body["inputs"], dict) else {only: body["inputs"]}
        inputs = {name: unwrapped(value) for name, value in columns.items()}
        return {"outputs": {name: value.tolist() for name, value in predict(signature, inputs).items()}}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                if self.path not in ("/v1/models/cacnet:predict", "/v1/models/cacnet/versions/1:predict"):
                    raise ValueError(f"unknown path {self.path}")
                status, result = 200, answer(body)
            except (tf.errors.InvalidArgumentError, ValueError, KeyError) as error:
                status, result = 400, {"error": str(error)}
            content = json.dumps(result).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    rest = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    ports = {"rest": rest.server_address[1], "grpc": None}

    try:
        import grpc
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
    except ImportError:
        pass
    else:

        class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
            def Predict(self, request, context):
                signature = request.model_spec.signature_name
                try:
                    inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
                    outputs = predict(signature, inputs)
                except (tf.errors.InvalidArgumentError, ValueError, KeyError) as error:
                    context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
                response = predict_pb2.PredictResponse(model_spec=request.model_spec)
                for name, value in outputs.items():
                    response.outputs[name].CopyFrom(tf.make_tensor_proto(np.asarray(value)))
                return response

        server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", -1)])
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
        ports["grpc"] = server.add_insecure_port("127.0.0.1:0")
        server.start()

    print(json.dumps(ports), flush=True)
    sys.stdin.read()
