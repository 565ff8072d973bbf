"""Do Python clients and servers talk through a ring?"""

import json
import threading

import anyio
import pytest
from kernmantle import CallError, Client, Ring
from kernmantle.mcp import ring_client
from mcp import ClientSession

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def call(id, name, **arguments):
    params = {"name": name, "arguments": arguments, "_meta": META}
    message = {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}
    return json.dumps(message).encode()


def test_the_ring_itself(ring):
    with Ring.connect(ring) as peer:
        for size in (1, 300, 9000, 70_000, 600_000):
            text = "x" * size
            peer.send(call(size, "in__echo", message=text))
            answer = json.loads(peer.recv(20))
            assert answer["id"] == size
            assert answer["result"]["content"][0]["text"] == text
        assert peer.try_recv() is None
        with pytest.raises(TimeoutError):
            peer.recv(0.01)
        with pytest.raises(ValueError):
            peer.recv(-1)
    with pytest.raises(ValueError, match="closed"):
        peer.send(b"{}")
    with pytest.raises(FileNotFoundError):
        Ring.connect("/nowhere/at/all")


def test_a_ring_is_shut_while_another_thread_waits(ring):
    with Ring.connect(ring) as peer:
        ends = []

        def wait():
            with pytest.raises(EOFError):
                peer.recv()
            ends.append("seen")

        waiting = threading.Thread(target=wait)
        waiting.start()
        peer.shut()
        waiting.join(20)
        assert ends == ["seen"]


def test_a_client_without_an_sdk(ring):
    notes = []
    with Client(ring, on_notification=notes.append) as client:
        assert {"in__echo", "py__double"} <= {tool["name"] for tool in client.list_tools(20)}
        for size in (0, 300, 600_000):
            result = client.call_tool("py__double", {"text": "ä" * size}, timeout=20)
            assert result["content"][0]["text"] == "ä" * size * 2
        calls = [("tools/call", {"name": "in__echo", "arguments": {"message": str(at)}}) for at in range(500)]
        calls[7] = ("tools/call", {"name": "nothing of that name"})
        results = client.requests(calls, timeout=20)
        assert isinstance(results[7], CallError) and results[7].code == -32602
        texts = [results[at]["content"][0]["text"] for at in range(500) if at != 7]
        assert texts == [str(at) for at in range(500) if at != 7]
        assert client.requests([]) == []
        with pytest.raises(CallError, match="nothing"):
            client.call_tool("nothing of that name", timeout=20)
        with pytest.raises(TimeoutError):
            client.call_tool("in__sleep", {"ms": 60_000}, timeout=0.05)
        assert client.call_tool("in__echo", {"message": "on"}, timeout=20)["content"]
        params = {"name": "in__progress", "arguments": {"steps": 3, "interval_ms": 1}}
        client.request("tools/call", {**params, "_meta": {"progressToken": "p"}}, timeout=20)
        assert [note["params"]["progressToken"] for note in notes] == ["p"] * 3


def test_a_session_of_the_sdk(ring):
    async def talk():
        async with ring_client(ring) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            tools = {tool.name for tool in (await session.list_tools()).tools}
            assert {"in__echo", "py__double"} <= tools
            results = {}

            async def one(at):
                text = f"{at}" * (1 + at * 20_000)
                result = await session.call_tool("py__double", {"text": text})
                results[at] = result.content[0].text == text + text

            async with anyio.create_task_group() as tasks:
                for at in range(12):
                    tasks.start_soon(one, at)
            assert all(results.values()) and len(results) == 12

    with_limit(talk)


def test_a_session_notices_the_end(ring):
    async def talk():
        async with ring_client(ring) as (read, write):
            await anyio.sleep(0.05)
            await write.aclose()
            async with read:
                pass

    with_limit(talk)


def with_limit(talk):
    async def limited():
        with anyio.fail_after(60):
            await talk()

    anyio.run(limited)
