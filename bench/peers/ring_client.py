"""Asks an echo tool from Python, one way of several, and checks every answer.

    ring_client.py HOW TOOL IN_FLIGHT WARM_UP_MS DURATION_MS TEXT_BYTES TARGET...

HOW is `sdk-ring` or `plain-ring` (TARGET: the path of kern's ring), `sdk-stdio` or `plain-stdio`
(TARGET: the command of a server), or `sdk-nothing`: a transport that answers at once by itself, which
shows what the official SDK costs alone. It says `counting` when the warm-up is over; at the end how
many requests were answered in how many µs, and the 50th, 99th, 99.9th and 100th percentile of theirs;
then it waits for the end of stdin.
"""

import asyncio
import json
import subprocess
import sys
import time
from contextlib import asynccontextmanager

HOW, TOOL = sys.argv[1:3]
IN_FLIGHT, WARM_UP_MS, DURATION_MS, TEXT_BYTES = map(int, sys.argv[3:7])
TARGET = sys.argv[7:]


class Count:
    """When it began, when it ends, and what came of it."""

    def __init__(self) -> None:
        self.start = self.end = 0.0
        self.since = self.now = 0.0
        self.asked = 0
        self.times: list[float] = []

    def text(self) -> str:
        if self.asked == 0:
            self.start = time.perf_counter() + WARM_UP_MS / 1000
            self.end = self.start + DURATION_MS / 1000
        self.asked += 1
        return f"{self.asked:010} ".ljust(TEXT_BYTES, "a")

    def answered(self, sent: float, right: bool) -> bool:
        """Takes an answer; whether to go on."""
        assert right, "a wrong answer"
        now = self.now = time.perf_counter()
        if self.since:
            self.times.append(now - sent)
        elif now >= self.start:
            self.since = now
            print("counting", flush=True)
        return now < self.end

    def say(self) -> None:
        times = sorted(self.times)
        at = [times[min(int(len(times) * q), len(times) - 1)] * 1e6 for q in (0.5, 0.99, 0.999, 1)]
        took = (self.now - self.since) * 1e6
        print(len(times), f"{took:.1f}", *(f"{us:.2f}" for us in at), flush=True)
        sys.stdin.read()


async def official(streams, count: Count) -> None:
    """The official SDK, on a transport of its own or of ours."""
    from mcp import ClientSession

    async with streams as (read, write), ClientSession(read, write) as session:
        await session.initialize()

        async def ask() -> None:
            going = True
            while going:
                text, sent = count.text(), time.perf_counter()
                result = await session.call_tool(TOOL, {"message": text})
                going = count.answered(sent, result.content[0].text == text)

        await session.list_tools()
        await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))
        count.say()


@asynccontextmanager
async def nothing():
    """Streams of the SDK with a server inside: each request is answered when it is read."""
    import anyio
    from mcp.shared.message import SessionMessage
    from mcp_types import JSONRPCResponse

    asked, read_requests = anyio.create_memory_object_stream(64)

    class Read:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            pass

        def __aiter__(self):
            return self

        async def __anext__(self):
            while True:
                message = (await read_requests.receive()).message
                if getattr(message, "id", None) is not None:
                    break
            params = message.params or {}
            result = {
                "initialize": lambda: {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "nothing", "version": "1"},
                },
                "tools/list": lambda: {"tools": [{"name": TOOL, "inputSchema": {"type": "object"}}]},
                "tools/call": lambda: {
                    "content": [{"type": "text", "text": params["arguments"]["message"]}]
                },
            }[message.method]()
            return SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=message.id, result=result))

    yield Read(), asked


def ring_of_ours(count: Count) -> None:
    """The client of kernmantle: one call after the other, or several in flight."""
    from kernmantle import Client

    with Client(TARGET[0]) as client:
        going = True
        while going:
            texts = [count.text() for _ in range(IN_FLIGHT)]
            sent = time.perf_counter()
            if IN_FLIGHT == 1:
                results = [client.call_tool(TOOL, {"message": texts[0]})]
            else:
                calls = ({"name": TOOL, "arguments": {"message": text}} for text in texts)
                results = client.requests(("tools/call", call) for call in calls)
            for text, result in zip(texts, results, strict=True):
                going = count.answered(sent, result["content"][0]["text"] == text)
        count.say()


def pipes(count: Count) -> None:
    """The same by hand through a server's stdin and stdout."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "pipes", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(TARGET, **pipe) as server:
        going, last = True, 0
        while going:
            texts = {last + at: count.text() for at in range(1, IN_FLIGHT + 1)}
            last += IN_FLIGHT
            sent = time.perf_counter()
            for number, text in texts.items():
                params = {"name": TOOL, "arguments": {"message": text}, "_meta": meta}
                message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
                server.stdin.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
            server.stdin.flush()
            while texts:
                answer = json.loads(server.stdout.readline())
                text = texts.pop(answer["id"])
                right = answer["result"]["content"][0]["text"] == text
                going = count.answered(sent, right)
        count.say()


def main() -> None:
    count = Count()
    if HOW == "plain-ring":
        ring_of_ours(count)
    elif HOW == "plain-stdio":
        pipes(count)
    elif HOW == "sdk-ring":
        from kernmantle.mcp import ring_client

        asyncio.run(official(ring_client(TARGET[0]), count))
    elif HOW == "sdk-stdio":
        from mcp import StdioServerParameters
        from mcp.client.stdio import stdio_client

        server = StdioServerParameters(command=TARGET[0], args=TARGET[1:])
        asyncio.run(official(stdio_client(server), count))
    else:
        asyncio.run(official(nothing(), count))


main()
