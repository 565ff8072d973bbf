"""A ring as a transport of the official Python SDK (`mcp`), of its first and its second generation.

`ring_client(path)` connects to `kern serve --ring PATH`; `ring_server()` serves in a process that kern
started with `ring = true`. Both give a pair of streams such as the SDK's own transports give. These
read and write the ring themselves, in the task that asks: between the SDK and the ring there is no
task, no queue and no thread, but where a message must wait for room.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from os import PathLike

import anyio
import anyio.lowlevel
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
    shared = _Shared(await anyio.to_thread.run_sync(connect))
    read, write = _ReadStream(shared), _WriteStream(shared)
    try:
        yield read, write
    finally:
        read.close()
        write.close()
        shared.ring.shut()
        with anyio.CancelScope(shield=True):
            await shared.to_itself()
        shared.ring.close()


class _Shared:
    """The ring, and who uses it."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        # The wait for something to read.
        self.looking = anyio.CancelScope()
        # Set while a thread sends what must wait for room: the ring is that thread's then. It takes
        # in what arrives meanwhile, so that whoever waits for the descriptor has to look again.
        self.thread: anyio.Event | None = None
        self.broken = False

    async def to_itself(self) -> None:
        """Waits until no thread has the ring."""
        while self.thread is not None:
            await self.thread.wait()

    async def send_rest(self, rest: bytes) -> None:
        self.thread = thread = anyio.Event()
        try:
            # Half a message may not stay: whoever waits may go away, the thread goes on.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self.ring.send, rest)
        finally:
            self.thread = None
            thread.set()
            self.looking.cancel()


class _Stream:
    """What both streams have in common."""

    def __init__(self, shared: _Shared) -> None:
        self._shared = shared
        self._closed = False

    def close(self) -> None:
        self._closed = True

    async def aclose(self) -> None:
        self.close()
        await anyio.lowlevel.checkpoint()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.close()


class _ReadStream(_Stream):
    async def receive(self) -> SessionMessage | Exception:
        shared = self._shared
        waited = False
        while True:
            if shared.thread is not None:
                await shared.to_itself()
            if self._closed:
                raise anyio.ClosedResourceError
            try:
                message = shared.ring.try_recv()
                armed = message is None and shared.ring.arm()
            except (EOFError, OSError):
                raise anyio.EndOfStream from None
            if message is not None:
                if not waited:
                    # Others have their turn, however fast messages come.
                    await anyio.lowlevel.cancel_shielded_checkpoint()
                return _parsed(message)
            if shared.broken:
                raise anyio.EndOfStream
            if armed:
                with anyio.CancelScope() as shared.looking:
                    await anyio.wait_readable(shared.ring.fileno())
                waited = True

    def close(self) -> None:
        super().close()
        self._shared.looking.cancel()

    def __aiter__(self):
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class _WriteStream(_Stream):
    async def send(self, message: SessionMessage) -> None:
        shared = self._shared
        text = message.message.model_dump_json(**_WRITTEN).encode()
        await shared.to_itself()
        if self._closed:
            raise anyio.ClosedResourceError
        try:
            put = shared.ring.try_send(text)
            if put < len(text):
                await shared.send_rest(text[put:])
        except (EOFError, OSError):
            shared.broken = True
            shared.looking.cancel()
            raise anyio.BrokenResourceError from None


def _parsed(message: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(_read(message))
    except ValueError as error:
        return error
