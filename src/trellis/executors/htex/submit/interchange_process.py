"""The way to the interchange: its process, the socket to it, and others of both when it has died. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from trellis.executors.htex.settings import Ports, Settings
from trellis.executors.htex.submit.interchange_identity import interchange_process
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import load_client_keys
from trellis.wire.codec import Buffer


class InterchangeLink:
    """One interchange after the other, all on the same ports. One thread owns it."""

    def __init__(self, label: str, command: Sequence[str], settings: Settings) -> None:
        self._label = label
        self._command = command
        self._settings = settings
        self.process = interchange_process(label, command, settings)

    def start(self) -> Ports:
        """Start the first interchange, and connect to it.

        Raises:
            ExecutorError: it does not start; the message has its last words.
        """
        self._ports = self.process.start()
        self._context = new_context()
        self._connect()
        return self._ports

    def _connect(self) -> None:
        cert_dir, host = self._settings.cert_dir, self._settings.client_address
        keys = None if cert_dir is None else load_client_keys(Path(cert_dir))
        self.endpoint = ClientEndpoint(self._context, keys, self._settings.client_name.encode() or None)
        address = f"[{host}]" if ":" in host else host
        self.endpoint.connect(f"tcp://{address}:{self._ports.client}")

    def restart(self, abandoned: Callable[[], bool]) -> None:
        """Start another interchange in place of one that has died, and connect to it.

        Raises:
            ExecutorError: it does not start, or was abandoned before it did.
        """
        # What the old socket still has to say is not for the new interchange.
        self.endpoint.close(linger_ms=0)
        self.process.end(0.0)
        client, worker = self._ports.client, self._ports.worker
        settings = msgspec.structs.replace(
            self._settings, client_ports=(client, client + 1), worker_ports=(worker, worker + 1), resuming=True
        )
        process = interchange_process(self._label, self._command, settings)
        process.start(abandoned)
        self.process = process
        self._connect()

    def send(self, frames: Sequence[Buffer]) -> None:
        self.endpoint.send(frames)

    def close(self, timeout_s: float) -> None:
        """End the interchange, and kill it when that takes longer than ``timeout_s``."""
        self.process.end(timeout_s)
        self.endpoint.close()
        self._context.term()
