"""Requests a second and latencies of a KServe server of an export, and how long it takes to its first answer.

.venv/kserve/bin/python benchmarks/serving_speed.py [--requests 200]     # ten minutes

Method. The network of the recipe `laptop` with 21 classes and random weights is exported and served by
examples/kserve_server/server.py as a process of its own (`kserve_process.py`), with `--concurrency` 1 and 2. Clients
are threads of this process on the same machine; each sends the next request by gRPC when its last one is answered:
uint8 pixels of one size to `serve_class_ids`. The first request of every client is not counted. Latencies are what a
client sees. Start-up is from the start of the process to "ready" (asked every 0.1 s), and to the first answer.

KServe's batching is in a sidecar that its Python package does not have. What it could gain is measured by requests
that hold 8 images each, as the server would get them from it: a batcher does not do better, for it also waits.
"""

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve_process import server
from own_subjects import build
from performance import LITE
from serving_requests import message

import keras_cacnet as kc

CLASSES = 21
SIZES = (256, 512)
CLIENTS = (1, 4, 8)
TOGETHER = 8


def latencies(port: int, images: np.ndarray, clients: int, requests: int) -> tuple[float, list[float]]:
    """Seconds that all requests took together, and each by itself."""
    request = message(images, "serve_class_ids")
    taken: list[float] = []
    started = threading.Barrier(clients + 1)
    left = iter(range(requests))
    lock = threading.Lock()

    def client() -> None:
        unlimited = [("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=unlimited) as channel:
            stub = GRPCInferenceServiceStub(channel)
            stub.ModelInfer(request, timeout=120)
            started.wait(120)
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                before = time.perf_counter()
                stub.ModelInfer(request, timeout=120)
                taken.append(time.perf_counter() - before)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    started.wait(120)
    before = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - before, taken


def measured(port: int, size: int, together: int, clients: int, requests: int) -> dict[str, Any]:
    images = np.random.default_rng(0).integers(0, 256, (together, size, size, 3)).astype("uint8")
    wall, taken = latencies(port, images, clients, requests)
    if len(taken) != requests:
        raise RuntimeError(f"{len(taken)} of {requests} requests were answered")
    half, rare = np.percentile(taken, (50, 99))
    return {
        "size": size,
        "images a request": together,
        "clients": clients,
        "requests": requests,
        "images a second": round(together * requests / wall, 2),
        "p50_ms": round(1e3 * float(half), 1),
        "p99_ms": round(1e3 * float(rare), 1),
    }


def served(folder: Path, concurrency: int, requests: int) -> dict[str, Any]:
    """Start a server, and measure it."""
    started = time.perf_counter()
    with server(folder, Path(os.devnull), arguments=[f"--concurrency={concurrency}"]) as (_, _, port):
        ready = time.perf_counter() - started
        latencies(port, np.zeros((1, SIZES[0], SIZES[0], 3), "uint8"), 1, 0)
        first = time.perf_counter() - started
        rows = []
        for size in SIZES:
            for clients in CLIENTS:
                rows.append(measured(port, size, 1, clients, requests))
                print(concurrency, rows[-1], flush=True)
            rows.append(measured(port, size, TOGETHER, 1, requests // TOGETHER))
            print(concurrency, rows[-1], flush=True)
    return {"ready_s": round(ready, 1), "first_answer_s": round(first, 1), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results") / "serving_speed.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kc.export.saved_model(build("cacnet", CLASSES, **LITE), Path(folder, "cacnet", "1"), warmup_size=None)
        found = {str(count): served(Path(folder, "cacnet"), count, options.requests) for count in (1, 2)}
    result = {
        "machine": {"processors": os.cpu_count(), "architecture": platform.machine()},
        "versions": {name: version(name) for name in ("kserve", "tensorflow")},
        "classes": CLASSES,
        "by concurrency": found,
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
