"""What a KServe server of an export does under load: right answers, refusals with reasons, memory.

.venv/kserve/bin/python benchmarks/serving_load.py CACNET CHECKPOINT.keras [--requests 1000] [--clients 8]

CACNET is the folder with the numbered SavedModel of a checkpoint. Method: examples/kserve_server/server.py runs as a
process in which neither Keras nor keras_cacnet can be imported. Images of many sizes (drawn, and photographs of
--photographs) are answered by Keras beforehand. Clients then send requests of random kinds, by REST and by gRPC: JPEG
and PNG files, uint8 and float numbers, one image or several; every fourth one cannot be answered (serving_requests.py
lists them). A good answer is right where its probabilities are within 1e-5 of Keras' and its classes are the same, but
where two are as likely to 2e-5; a bad request is answered right with status 400 or 404 (by gRPC INVALID_ARGUMENT or
NOT_FOUND) and the expected reason. Memory is the resident size of the server: after as many requests as warm it up, at
its highest, and after the load. Written as JSON; exit status 1 where an answer was wrong.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import keras
import numpy as np
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve_process import server
from PIL import Image
from serving_requests import Answered, Call, answered, bad_calls, good_calls

SIZES = ((32, 48), (61, 45), (96, 128), (128, 96), (200, 150), (257, 256))
MIB = 2**20


def images(photographs: Path | None, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Smooth images, and photographs at half their size."""
    for height, width in SIZES * 2:
        small = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3)).astype("uint8")
        yield np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    for path in sorted(photographs.glob("*.jpg"))[:6] if photographs else ():
        with Image.open(path) as image:
            yield np.asarray(image.convert("RGB").reduce(2))


def memory(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Resident size of a process now and at its highest, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    values = dict(line.split(":", 1) for line in status.splitlines())
    return tuple(int(values[key].split()[0]) * 1024 / MIB for key in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def load(calls: Sequence[Call], clients: int, ports: tuple[int, int]) -> tuple[Counter[str], list[str]]:
    """Send calls by several clients at once: how many of each kind were answered right, and what was wrong."""
    right: Counter[str] = Counter()
    wrong: list[str] = []
    waiting = iter(calls)
    lock = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=120)
        unlimited = [("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{ports[1]}", options=unlimited) as channel:
            stub = GRPCInferenceServiceStub(channel)
            while True:
                with lock:
                    call = next(waiting, None)
                if call is None:
                    break
                try:
                    fault = call.fault(connection, stub)
                except Exception as error:
                    fault = repr(error)
                    connection.close()
                with lock:
                    if fault:
                        wrong.append(f"{call.name}: {fault}")
                    else:
                        right[call.name] += 1
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return right, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--log", type=Path, default=Path(os.devnull))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results") / "serving_load.json")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    model = keras.saving.load_model(options.checkpoint)
    pool: list[Answered] = [
        answered(model, image, kind) for image in images(options.photographs, rng) for kind in ("JPEG", "PNG")
    ]
    good, bad = good_calls(pool, rng), bad_calls(pool[0])
    calls = [
        bad[index // 4 % len(bad)] if index % 4 == 3 else good[rng.integers(len(good))]
        for index in range(options.requests)
    ]
    with server(options.export, options.log) as (process, rest, grpc_port):
        # Of every kind and size once, by all clients: allocators and caches reach their size.
        right, wrong = load([*good, *bad], options.clients, (rest, grpc_port))
        before, _ = memory(process)
        found, failures = load(calls, options.clients, (rest, grpc_port))
        time.sleep(2)
        after, highest = memory(process)
    wrong += failures
    result: dict[str, Any] = {
        "versions": {name: version(name) for name in ("kserve", "tensorflow")},
        "clients": options.clients,
        "requests": options.requests,
        "sizes": sorted({"x".join(map(str, image.image.shape[:2])) for image in pool}),
        "answered right": dict(sorted(found.items())),
        "answered wrong": wrong,
        "memory in MiB": {
            "warmed up with": right.total(),
            "before": round(before),
            "highest": round(highest),
            "after": round(after),
        },
        "memory after / before": round(after / before, 3),
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
