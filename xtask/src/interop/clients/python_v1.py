"""Runs a plan with the Python SDK, version 1.

The plan (a file, JSON) lists runs: where to connect, whether to answer what servers ask, and the
requests to send. Each run prints one line of JSON: {"id": ..., "revision": ..., "results": [...]},
or {"id": ..., "failed": ...}.
"""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager

import httpx
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client

RUN_S = 150
START_S = 60


@asynccontextmanager
async def connect(to):
    if "stdio" in to:
        command, *args = to["stdio"]
        env = {**os.environ, **to.get("env", {})}
        params = StdioServerParameters(command=command, args=args, env=env)
        async with stdio_client(params) as (read, write):
            yield read, write
    elif "sse" in to:
        async with sse_client(to["sse"]) as (read, write):
            yield read, write
    else:
        more = {}
        if "unix" in to:
            more["httpx_client_factory"] = through(to["unix"])
        async with streamablehttp_client(to["http"], **more) as (read, write, _):
            yield read, write


def through(socket):
    def client(headers=None, timeout=None, auth=None):
        transport = httpx.AsyncHTTPTransport(uds=socket)
        return httpx.AsyncClient(
            transport=transport, headers=headers, timeout=timeout or 30, auth=auth
        )

    return client


async def elicit(context, params):
    content = {"name": "Ada", "check": True, "integer": 7, "untitledSingleSelectEnum": "Ross"}
    return types.ElicitResult(action="accept", content=content)


async def sample(context, params):
    text = types.TextContent(type="text", text="a double fisherman's bend")
    return types.CreateMessageResult(
        role="assistant", model="rope", stopReason="endTurn", content=text
    )


async def roots(context):
    return types.ListRootsResult(roots=[types.Root(uri="file:///rope", name="rope")])


ANSWERS = {
    "elicitation_callback": elicit,
    "sampling_callback": sample,
    "list_roots_callback": roots,
}


async def drain(ask, member):
    found, cursor = [], None
    while True:
        page = await ask(cursor)
        found += getattr(page, member)
        cursor = page.nextCursor
        if cursor is None:
            return {member: [dump(item) for item in found]}


async def patient(list_tools, name):
    """Lists until the tool is there: a server of the client's own may still be starting."""
    for _ in range(START_S):
        found = await list_tools()
        if any(tool["name"].endswith(name) for tool in found["tools"]):
            break
        await asyncio.sleep(1)
    return found


async def step(session, one):
    method, params = one["method"], one["params"]
    if method == "tools/list":
        return await patient(lambda: drain(session.list_tools, "tools"), one["until"])
    if method == "prompts/list":
        return await drain(session.list_prompts, "prompts")
    if method == "resources/list":
        return await drain(session.list_resources, "resources")
    if method == "resources/templates/list":
        return await drain(session.list_resource_templates, "resourceTemplates")
    if method == "resources/read":
        return dump(await session.read_resource(params["uri"]))
    if method == "prompts/get":
        return dump(await session.get_prompt(params["name"], params["arguments"]))
    heard = []

    async def hear(progress, total, message):
        heard.append([progress, total])

    more = {"progress_callback": hear} if one.get("progress") else {}
    result = dump(await session.call_tool(params["name"], params["arguments"], **more))
    return {**result, "progress": heard} if more else result


def dump(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def perform(run):
    answers = ANSWERS if run["answers"] else {}
    results = []
    async with connect(run["connect"]) as (read, write):
        async with ClientSession(read, write, **answers) as session:
            revision = (await session.initialize()).protocolVersion
            for one in run["steps"]:
                try:
                    results.append(await step(session, one))
                except McpError as error:
                    results.append({"error": str(error)})
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
