"""Asks a manager of the embedded engine how it is. One question, one answer; keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trellis.addresses import tcp_url
from trellis.errors import BadMessage
from trellis.executors.taskvine.projects import find
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import keys_from_password_file
from trellis.transport.probe import first_reachable
from trellis.wire.codec import Decoder, encode_header
from trellis.wire.messages import Message
from trellis.wire.vine import ToVineClient, VineStatus, VineStatusRequest


def manager_status(
    addresses: Sequence[str], port: int, password_file: Path | None, timeout_s: float = 5.0
) -> VineStatus:
    """What a manager says of its tasks, workers and files.

    Raises:
        ConfigurationError: the password file cannot be read, or can be read by others.
        ConnectionError: there is no manager, or it does not answer.
    """
    keys = None if password_file is None else keys_from_password_file(password_file)[1]
    try:
        address = first_reachable(addresses, port, timeout_s)
    except ConnectionError:
        where = ", ".join(addresses)
        raise ConnectionError(
            f"nobody listens at port {port} of {where} (the manager may have ended, or the port be blocked)"
        ) from None
    context = new_context()
    endpoint = ClientEndpoint(context, keys)
    try:
        endpoint.connect(tcp_url(address, port))
        endpoint.send([encode_header(VineStatusRequest(0))])
        if not endpoint.wait(timeout_s):
            raise ConnectionError(
                f"whoever listens at {address}, port {port}, does not answer within {timeout_s:g} s (another password, "
                "none where one is needed, or no manager of the embedded engine)"
            )
        return _status_in(endpoint.receive() or [])
    finally:
        endpoint.close(0)
        context.term()


def project_status(name: str, timeout_s: float = 5.0) -> VineStatus:
    """The same, of the manager that has announced itself by this name.

    Raises:
        ConfigurationError: there is no such project.
        ConnectionError: its manager is gone, or does not answer.
    """
    project = find(name)
    try:
        return manager_status(project.addresses, project.port, Path(project.password_file), timeout_s)
    except ConnectionError as error:
        raise ConnectionError(f"project {name}, announced by process {project.pid}: {error}") from None


def _status_in(frames: Sequence[bytes | bytearray | memoryview]) -> VineStatus:
    decoder: Decoder[Message] = Decoder(ToVineClient)
    try:
        message = decoder.decode(frames[0]) if frames else None
    except BadMessage as error:
        raise ConnectionError(f"the answer is no status: {error}") from None
    if not isinstance(message, VineStatus):
        raise ConnectionError(f"the answer is a {type(message).__name__}, no status")
    return message
