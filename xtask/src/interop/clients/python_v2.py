"""Runs a plan with the Python SDK, version 2.

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
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

MODES = {"legacy": "legacy", "auto": "auto", "modern": "2026-07-28"}
RUN_S = 150
START_S = 60


def server(to):
    if "stdio" in to:
        command, *args = to["stdio"]
        env = {**os.environ, **to.get("env", {})}
        return StdioServerParameters(command=command, args=args, env=env)
    if "sse" in to:
        return sse_client(to["sse"])
    if "unix" in to:
        transport = httpx2.AsyncHTTPTransport(uds=to["unix"])
        http = httpx2.AsyncClient(transport=transport, timeout=30)
        return streamable_http_client(to["http"], http_client=http)
    return to["http"]


async def elicit(context, params):
    content = {"name": "Ada", "check": True, "integer": 7, "untitledSingleSelectEnum": "Ross"}
    return types.ElicitResult(action="accept", content=content)


async def sample(context, params):
    text = types.TextContent(type="text", text="a double fisherman's bend")
    return types.CreateMessageResult(
        role="assistant", model="rope", stop_reason="endTurn", content=text
    )


async def roots(context):
    return types.ListRootsResult(roots=[types.Root(uri="file:///rope", name="rope")])


ANSWERS = {
    "elicitation_callback": elicit,
    "sampling_callback": sample,
    "list_roots_callback": roots,
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
        return await patient(lambda: drain(client.list_tools, "tools", "tools"), one["until"])
    if method == "prompts/list":
        return await drain(client.list_prompts, "prompts", "prompts")
    if method == "resources/list":
        return await drain(client.list_resources, "resources", "resources")
    if method == "resources/templates/list":
        ask = client.list_resource_templates
        return await drain(ask, "resource_templates", "resourceTemplates")
    if method == "resources/read":
        return dump(await client.read_resource(params["uri"]))
    if method == "prompts/get":
        return dump(await client.get_prompt(params["name"], params["arguments"]))
    heard = []

    async def hear(progress, total, message):
        heard.append([progress, total])

    more = {"progress_callback": hear} if one.get("progress") else {}
    result = dump(await client.call_tool(params["name"], params["arguments"], **more))
    return {**result, "progress": heard} if more else result


def dump(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def perform(run):
    answers = ANSWERS if run["answers"] else {}
    results = []
    async with Client(server(run["connect"]), mode=MODES[run["era"]], **answers) as client:
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
