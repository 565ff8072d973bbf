"""A plain client of `kern serve --ring PATH`: what a call costs without an SDK around it.

It speaks 2026-07-28, which needs no handshake. Params and results are what JSON gives: nothing is
checked or converted. It offers the server no capabilities, so nobody asks it anything.
"""

import json
import time
from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any, Self

from ._ring import Ring

_VERSION = "2026-07-28"
# Most requests that wait for answers at once.
_IN_FLIGHT = 32
_encode = json.JSONEncoder(separators=(",", ":")).encode


class CallError(Exception):
    """The error of JSON-RPC that a request was answered with."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.code: int = error.get("code", 0)
        self.message: str = error.get("message", "")
        self.data: Any = error.get("data")
        super().__init__(f"{self.message} ({self.code})")


class Client:
    """A conversation with kern, used by one thread at a time. Times are in seconds."""

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        name: str = "kernmantle",
        version: str = "0.1.0",
        on_notification: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Connects to `kern serve --ring PATH`. Notifications of the server (progress, logs) go to
        `on_notification` while a request waits, else nowhere."""
        self._ring = Ring.connect(path)
        self._on_notification = on_notification
        self._last_id = 0
        meta = {
            "io.modelcontextprotocol/protocolVersion": _VERSION,
            "io.modelcontextprotocol/clientInfo": {"name": name, "version": version},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        self._meta, self._meta_text = meta, _encode(meta)

    def request(
        self, method: str, params: dict[str, Any] | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """The result of a request. `CallError` if it is refused, `TimeoutError` if no answer comes
        in time; then it is cancelled."""
        until = None if timeout is None else time.monotonic() + timeout
        waiting = {self._push(method, params): 0}
        outcomes: list[dict[str, Any] | CallError] = [{}]
        self._wait(waiting, outcomes, until)
        if isinstance(outcomes[0], CallError):
            raise outcomes[0]
        return outcomes[0]

    def requests(
        self,
        requests: Iterable[tuple[str, dict[str, Any] | None]],
        timeout: float | None = None,
    ) -> list[dict[str, Any] | CallError]:
        """The results of several requests, many of them in flight at once; a refused one gives its
        error. All of them together may take `timeout`."""
        until = None if timeout is None else time.monotonic() + timeout
        outcomes: list[dict[str, Any] | CallError] = []
        waiting: dict[int, int] = {}
        for method, params in requests:
            if len(waiting) >= _IN_FLIGHT:
                self._wait(waiting, outcomes, until, below=_IN_FLIGHT)
            waiting[self._push(method, params)] = len(outcomes)
            outcomes.append({})
        self._wait(waiting, outcomes, until)
        return outcomes

    def call_tool(
        self, name: str, arguments: dict[str, Any] | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """Calls a tool. A result with `isError` is a result."""
        return self.request("tools/call", {"name": name, "arguments": arguments or {}}, timeout)

    def list_tools(self, timeout: float | None = None) -> list[dict[str, Any]]:
        """All tools, page by page."""
        tools: list[dict[str, Any]] = []
        params: dict[str, Any] = {}
        while True:
            page = self.request("tools/list", params, timeout)
            tools.extend(page["tools"])
            if "nextCursor" not in page:
                return tools
            params = {"cursor": page["nextCursor"]}

    def close(self) -> None:
        """Ends the conversation."""
        self._ring.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _push(self, method: str, params: dict[str, Any] | None) -> int:
        """Sends a request with the next wait; its id."""
        self._last_id += 1
        if params and "_meta" in params:
            text = _encode({**params, "_meta": {**self._meta, **params["_meta"]}})
        else:
            inside = _encode(params)[1:-1] + "," if params else ""
            text = f'{{{inside}"_meta":{self._meta_text}}}'
        head = f'{{"jsonrpc":"2.0","id":{self._last_id},"method":{_encode(method)},"params":'
        self._ring.push(f"{head}{text}}}".encode())
        return self._last_id

    def _wait(
        self, waiting: dict[int, int], outcomes: list, until: float | None, below: int = 1
    ) -> None:
        """Takes answers until fewer than `below` requests wait, and what else is there then."""
        try:
            while len(waiting) >= below:
                left = None if until is None else max(0.0, until - time.monotonic())
                message: bytes | None = self._ring.recv(left)
                while message is not None:
                    self._take(json.loads(message), waiting, outcomes)
                    message = self._ring.try_recv() if waiting else None
        except TimeoutError:
            self._cancel(waiting)
            raise

    def _take(self, message: dict[str, Any], waiting: dict[int, int], outcomes: list) -> None:
        if "method" in message:
            if self._on_notification is not None and "id" not in message:
                self._on_notification(message)
            return
        # Nobody waits for the late answer to a request that was cancelled.
        place = waiting.pop(message.get("id"), None)
        if place is not None:
            failed = "error" in message
            outcomes[place] = CallError(message["error"]) if failed else message["result"]

    def _cancel(self, waiting: dict[int, int]) -> None:
        for request_id in waiting:
            params = {"requestId": request_id, "reason": "no answer in time"}
            note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
            self._ring.push(_encode(note).encode())
        self._ring.flush()
