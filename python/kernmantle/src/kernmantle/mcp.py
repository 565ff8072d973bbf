"""A ring as a transport of the official Python SDK (`mcp`), of its first and its second generation.

`ring_client(path)` connects to `kern serve --ring PATH`; `ring_server()` serves in a process that kern
started with `ring = true`. Both give the pair of streams that the SDK's own transports give.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from os import PathLike

import anyio
import anyio.to_thread
from mcp.shared.message import SessionMessage

from . import Ring

try:
    from mcp_types import jsonrpc_message_adapter

    def _read(message: bytes):
        return jsonrpc_message_adapter.validate_json(message, by_name=False)

    _WRITTEN = {"by_alias": True, "exclude_unset": True}
except ImportError:
    from mcp.types import JSONRPCMessage

    _read = JSONRPCMessage.model_validate_json
    _WRITTEN = {"by_alias": True, "exclude_none": True}

__all__ = ["ring_client", "ring_server"]


@asynccontextmanager
async def ring_client(path: str | PathLike[str]):
    """The streams of a client of `kern serve --ring PATH`."""
    async with _streams(lambda: Ring.connect(path)) as streams:
        yield streams


@asynccontextmanager
async def ring_server():
    """The streams of a server that kern started with `ring = true`."""
    async with _streams(Ring.from_env) as streams:
        yield streams


@asynccontextmanager
async def _streams(connect: Callable[[], Ring]) -> AsyncGenerator:
    ring = await anyio.to_thread.run_sync(connect)
    received, read_stream = anyio.create_memory_object_stream(0)
    write_stream, sent = anyio.create_memory_object_stream(0)
    # A send that must wait does so in a thread, and takes in what arrives meanwhile: whoever waits
    # for the descriptor has to look again then.
    lock, looking = anyio.Lock(), anyio.CancelScope()

    async def receive() -> None:
        nonlocal looking
        async with received:
            try:
                while True:
                    async with lock:
                        message = ring.try_recv()
                        armed = message is None and ring.arm()
                    if message is not None:
                        await received.send(_parsed(message))
                    elif armed:
                        with anyio.CancelScope() as looking:
                            await anyio.wait_readable(ring.fileno())
            except (EOFError, OSError, anyio.ClosedResourceError, anyio.BrokenResourceError):
                pass  # The session sees its stream end.

    async def send() -> None:
        async with sent:
            try:
                async for message in sent:
                    text = message.message.model_dump_json(**_WRITTEN).encode()
                    async with lock:
                        put = ring.try_send(text)
                        if put < len(text):
                            await anyio.to_thread.run_sync(ring.send, text[put:])
                            looking.cancel()
            except (EOFError, OSError, anyio.ClosedResourceError):
                await received.aclose()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            tasks.start_soon(send)
            try:
                yield read_stream, write_stream
            finally:
                tasks.cancel_scope.cancel()
    finally:
        for stream in (received, read_stream, write_stream, sent):
            stream.close()
        ring.close()


def _parsed(message: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(_read(message))
    except ValueError as error:
        return error
