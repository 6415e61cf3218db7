"""The JSON client of the docs, connected with a node over a Unix socket."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from typing import Any

from network_helpers import (
    SECRET,
)

EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "examples" / "json_client.py"


def load_example() -> Any:
    spec = importlib.util.spec_from_file_location("json_client", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Client = load_example().Client


def connect(path: str, name: bytes, secret: str = SECRET) -> Any:
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(20)
    connected.connect(path)
    client = Client.__new__(Client)
    client.socket = connected
    try:
        client.__init__(connected, name, secret.encode())
    except BaseException:
        # By then it may be the socket with TLS around it.
        client.socket.close()
        client.file.close()
        raise
    return client
