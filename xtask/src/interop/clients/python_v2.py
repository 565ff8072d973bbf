"""Runs a plan with the Python SDK, version 2.

The plan (a file, JSON) says where to connect, in which era, and which requests to send; the answers
go to stdout as JSON: {"revision": ..., "results": [...]}.
"""

import asyncio
import json
import os
import sys

from mcp import Client, MCPError, StdioServerParameters

MODES = {"legacy": "legacy", "auto": "auto", "modern": "2026-07-28"}


def server(where):
    if "http" in where:
        return where["http"]
    command, *args = where["stdio"]
    return StdioServerParameters(command=command, args=args, env=dict(os.environ))


async def tools(client):
    found, cursor = [], None
    while True:
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None:
            return {"tools": [dump(tool) for tool in found]}


async def step(client, method, params):
    if method == "tools/list":
        return await tools(client)
    if method == "tools/call":
        return dump(await client.call_tool(params["name"], params["arguments"]))
    if method == "resources/read":
        return dump(await client.read_resource(params["uri"]))
    return dump(await client.get_prompt(params["name"], params["arguments"]))


def dump(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    results = []
    async with Client(server(plan["connect"]), mode=MODES[plan["era"]]) as client:
        for one in plan["steps"]:
            try:
                results.append(await step(client, one["method"], one["params"]))
            except MCPError as error:
                results.append({"error": str(error)})
        revision = client.protocol_version
    print(json.dumps({"revision": revision, "results": results}))


asyncio.run(main())
