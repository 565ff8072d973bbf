"""Kernmantle's shared-memory rings: MCP messages between processes without sockets.

A `Client` calls the tools of a `kern serve --ring PATH`. A `Ring` is what it is made of: a message is
one JSON-RPC message, bytes of UTF-8 without a newline. Both are used by one thread at a time. Errors:
`TimeoutError`; `EOFError` once the other side ended and all it sent was received; `ConnectionError`
where it broke the protocol; `OSError` from the system; `ValueError` for a closed ring.
"""

from ._ring import Ring
from .client import CallError, Client

__all__ = ["CallError", "Client", "Ring"]
