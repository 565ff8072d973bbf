"""Kernmantle's shared-memory rings: MCP messages between processes without sockets.

A message is one JSON-RPC message, bytes of UTF-8 without a newline. A `Ring` is used by one thread at
a time. Errors: `TimeoutError`; `EOFError` once the other side ended and all it sent was received;
`ConnectionError` where it broke the protocol; `OSError` from the system; `ValueError` for a closed ring.
"""

from ._ring import Ring

__all__ = ["Ring"]
