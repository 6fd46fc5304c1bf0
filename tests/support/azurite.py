"""Azure's blob service on a free port: Azurite, Microsoft's own emulator of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bgtasks.stack import HOST, Process, free_port, listens
from tests.support import npm

PACKAGE = "azurite@3.35.0"
#: Everybody's, by Microsoft's documentation of it.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2021-08-06"  # of the protocol


class Azurite:
    """The service."""

    def __init__(self, folder: Path) -> None:
        program = npm.installed(PACKAGE) / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
        self._port = free_port()
        where = ["--blobHost", HOST, "--blobPort", str(self._port), "--location", str(folder / "blobs")]
        argv = ["node", str(program), *where, "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        self._process = Process("azurite", argv, folder / "azurite.log", folder, {})
        self._process.wait_until(lambda: listens(self._port))

    @property
    def options(self) -> dict[str, Any]:
        """``bgtasks_store_options``."""
        return {
            "azure_storage_account_name": ACCOUNT,
            "azure_storage_account_key": KEY,
            "azure_endpoint": f"http://{HOST}:{self._port}/{ACCOUNT}",
            "allow_http": True,
        }

    def container(self, name: str) -> str:
        """The URL of a new one."""
        moment = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = f"x-ms-date:{moment}\nx-ms-version:{VERSION}\n"
        signed = f"PUT{chr(10) * 12}{headers}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        signature = base64.b64encode(hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()).decode()
        said = dict(line.split(":", 1) for line in headers.splitlines())
        connection = HTTPConnection(HOST, self._port, timeout=10)
        path = f"/{ACCOUNT}/{name}?restype=container"
        connection.request("PUT", path, headers={**said, "Authorization": f"SharedKey {ACCOUNT}:{signature}"})
        assert connection.getresponse().status == 201
        connection.close()
        return f"az://{name}/exports of ours"

    def stop(self) -> None:
        """End it."""
        self._process.stop()
