"""Public path of encrypted sockets; they are made in ``trellis.transport.curve_context``."""

from trellis.transport.curve_context import ClientContext, ServerContext, create_certificates
from trellis.transport.curve_context import CurveContext as BaseContext
from trellis.transport.curve_context import load_certificate as _load_certificate

__all__ = ["BaseContext", "ClientContext", "ServerContext", "_load_certificate", "create_certificates"]
