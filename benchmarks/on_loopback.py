"""Runs a KServe server that only this machine can reach: python on_loopback.py SERVER.py [ARGUMENTS...]

KServe binds to all addresses and has no option for others. Neither Keras nor keras_cacnet can be imported.
"""

import runpy
import sys
from typing import Any

import uvicorn
from grpc.aio import _server

if __name__ == "__main__":
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
