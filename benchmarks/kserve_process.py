"""A KServe server of an export as a process, for the measurements and for the tests.

The process is this file too, under KServe's interpreter: python kserve_process.py SERVER.py [ARGUMENTS...]
It binds to this machine only, for which KServe has no option, and can import neither Keras nor keras_cacnet.
"""

import http.client
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120
"""Seconds that a server may take to start."""


@contextmanager
def server(
    folder: Path, log: Path, python: str | Path = sys.executable, arguments: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """Serve an export by examples/kserve_server/server.py, where only this machine reaches it.

    Args:
        folder: with the numbered versions of the SavedModel.
        log: what the server prints.
        python: the interpreter of the environment that KServe lies in.
        arguments: of the server, beside the model and the ports.

    Returns:
        The process, and its ports for REST and gRPC, once it answers; it is stopped at the end.

    Raises:
        RuntimeError: it did not start, or did not stop with status 0; the message has the end of its log.
    """
    rest, grpc = _free_port(), _free_port()
    command = [python, "-P", __file__, ROOT / "examples" / "kserve_server" / "server.py", *arguments]
    options = ["--model_name=cacnet", f"--model_dir={folder}", f"--http_port={rest}", f"--grpc_port={grpc}"]
    with log.open("wb") as output:
        process = subprocess.Popen([*map(str, command), *options], stdout=output, stderr=subprocess.STDOUT)
    try:
        started = time.monotonic()
        while not _answers(rest):
            if process.poll() is not None or time.monotonic() - started > PATIENCE:
                raise RuntimeError(f"the server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield process, rest, grpc
    finally:
        process.terminate()
        status = process.wait(60)
    if status:
        raise RuntimeError(f"the server ended with status {status}:\n{log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", "/v1/models/cacnet")
        return connection.getresponse().status == http.client.OK
    except ConnectionRefusedError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    import uvicorn
    from grpc.aio import _server

    for module in ("keras", "tf_keras", "keras_cacnet"):
        sys.modules[module] = None  # type: ignore[assignment]

    class Config(uvicorn.Config):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **{**settings, "host": "127.0.0.1"})

    class Server(_server.Server):
        def add_insecure_port(self, address: str) -> int:
            return super().add_insecure_port(address.replace("[::]", "127.0.0.1"))

    uvicorn.Config = Config
    _server.Server = Server
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
