"""Runs a plan with the Python SDK, version 1.

The plan (a file, JSON) says where to connect and which requests to send; the answers go to stdout
as JSON: {"revision": ..., "results": [...]}.
"""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager

from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client


@asynccontextmanager
async def connect(where):
    if "http" in where:
        async with streamablehttp_client(where["http"]) as (read, write, _):
            yield read, write
    elif "sse" in where:
        async with sse_client(where["sse"]) as (read, write):
            yield read, write
    else:
        command, *args = where["stdio"]
        params = StdioServerParameters(command=command, args=args, env=dict(os.environ))
        async with stdio_client(params) as (read, write):
            yield read, write


async def tools(session):
    found, cursor = [], None
    while True:
        page = await session.list_tools(cursor)
        found += page.tools
        cursor = page.nextCursor
        if cursor is None:
            return {"tools": [dump(tool) for tool in found]}


async def step(session, method, params):
    if method == "tools/list":
        return await tools(session)
    if method == "tools/call":
        return dump(await session.call_tool(params["name"], params["arguments"]))
    if method == "resources/read":
        return dump(await session.read_resource(params["uri"]))
    return dump(await session.get_prompt(params["name"], params["arguments"]))


def dump(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    results = []
    async with connect(plan["connect"]) as (read, write):
        async with ClientSession(read, write) as session:
            revision = (await session.initialize()).protocolVersion
            for one in plan["steps"]:
                try:
                    results.append(await step(session, one["method"], one["params"]))
                except McpError as error:
                    results.append({"error": str(error)})
    print(json.dumps({"revision": revision, "results": results}))


asyncio.run(main())
