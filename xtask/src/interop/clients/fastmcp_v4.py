"""Runs a plan with fastmcp's client.

The plan (a file, JSON) lists runs: where to connect, in which era, whether to answer what servers
ask, and the requests to send. Each run prints one line of JSON:
{"id": ..., "revision": ..., "results": [...]}, or {"id": ..., "failed": ...}.
"""

import asyncio
import json
import os
import sys

import httpx2
import mcp_types as types
from fastmcp import Client
from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport
from mcp import MCPError

MODES = {"legacy": "legacy", "auto": "auto", "modern": "2026-07-28"}
RUN_S = 150
START_S = 60


def transport(to):
    if "stdio" in to:
        command, *args = to["stdio"]
        env = {**os.environ, **to.get("env", {})}
        return StdioTransport(command=command, args=args, env=env, keep_alive=False)
    if "sse" in to:
        return SSETransport(to["sse"])
    if "unix" in to:
        return StreamableHttpTransport(to["http"], httpx_client_factory=through(to["unix"]))
    return StreamableHttpTransport(to["http"])


def through(socket):
    def client(**settings):
        settings.setdefault("timeout", 30)
        settings["transport"] = httpx2.AsyncHTTPTransport(uds=socket)
        return httpx2.AsyncClient(**settings)

    return client


async def elicit(message, kind, params, context):
    return {"name": "Ada", "check": True, "integer": 7, "untitledSingleSelectEnum": "Ross"}


async def sample(messages, params, context):
    text = types.TextContent(type="text", text="a double fisherman's bend")
    return types.CreateMessageResult(
        role="assistant", model="rope", stop_reason="endTurn", content=text
    )


ANSWERS = {
    "elicitation_handler": elicit,
    "sampling_handler": sample,
    "roots": [types.Root(uri="file:///rope", name="rope")],
}


async def drain(ask, member, name):
    found, cursor = [], None
    while True:
        page = await ask(cursor=cursor)
        found += getattr(page, member)
        cursor = page.next_cursor
        if cursor is None:
            return {name: [dump(item) for item in found]}


async def patient(list_tools, name):
    """Lists until the tool is there: a server of the client's own may still be starting."""
    for _ in range(START_S):
        found = await list_tools()
        if any(tool["name"].endswith(name) for tool in found["tools"]):
            break
        await asyncio.sleep(1)
    return found


async def step(client, one):
    method, params = one["method"], one["params"]
    if method == "tools/list":
        ask = client.list_tools_mcp
        return await patient(lambda: drain(ask, "tools", "tools"), one["until"])
    if method == "prompts/list":
        return await drain(client.list_prompts_mcp, "prompts", "prompts")
    if method == "resources/list":
        return await drain(client.list_resources_mcp, "resources", "resources")
    if method == "resources/templates/list":
        ask = client.list_resource_templates_mcp
        return await drain(ask, "resource_templates", "resourceTemplates")
    if method == "resources/read":
        return dump(await client.read_resource_mcp(params["uri"]))
    if method == "prompts/get":
        return dump(await client.get_prompt_mcp(params["name"], params["arguments"]))
    heard = []

    async def hear(progress, total, message):
        heard.append([progress, total])

    more = {"progress_handler": hear} if one.get("progress") else {}
    result = dump(await client.call_tool_mcp(params["name"], params["arguments"], **more))
    return {**result, "progress": heard} if more else result


def dump(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def perform(run):
    answers = ANSWERS if run["answers"] else {}
    results = []
    over = transport(run["connect"])
    async with Client(over, mode=MODES[run["era"]], **answers) as client:
        for one in run["steps"]:
            try:
                results.append(await step(client, one))
            except MCPError as error:
                results.append({"error": str(error)})
        revision = client.protocol_version
    return {"revision": revision, "results": results}


async def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    for run in plan["runs"]:
        try:
            line = await asyncio.wait_for(perform(run), RUN_S)
        except BaseException as error:
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            line = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps({"id": run["id"], **line}), flush=True)


asyncio.run(main())
