"""Runs a plan (python_plan.py) with the Python SDK, version 2."""

import httpx2
import mcp_types as types
import python_plan
from mcp import Client as Sdk
from mcp import MCPError, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

MODES = {"legacy": "legacy", "auto": "auto", "modern": "2026-07-28"}


def server(to):
    if "stdio" in to:
        return StdioServerParameters(**python_plan.child(to))
    if "sse" in to:
        return sse_client(to["sse"])
    if "unix" in to:
        transport = httpx2.AsyncHTTPTransport(uds=to["unix"])
        http = httpx2.AsyncClient(transport=transport, timeout=30)
        return streamable_http_client(to["http"], http_client=http)
    return to["http"]


async def elicit(context, params):
    return types.ElicitResult(action="accept", content=python_plan.CONTENT)


async def sample(context, params):
    text = types.TextContent(type="text", text=python_plan.TEXT)
    return types.CreateMessageResult(
        role="assistant", model="rope", stop_reason="endTurn", content=text
    )


async def roots(context):
    return types.ListRootsResult(roots=[types.Root(**python_plan.ROOT)])


ANSWERS = {
    "elicitation_callback": elicit,
    "sampling_callback": sample,
    "list_roots_callback": roots,
}


class Client:
    def __init__(self, sdk):
        self.sdk = sdk
        self.read = sdk.read_resource
        self.prompt = sdk.get_prompt

    async def page(self, method, cursor):
        ask, member = {
            "tools/list": (self.sdk.list_tools, "tools"),
            "prompts/list": (self.sdk.list_prompts, "prompts"),
            "resources/list": (self.sdk.list_resources, "resources"),
            "resources/templates/list": (self.sdk.list_resource_templates, "resource_templates"),
        }[method]
        page = await ask(cursor=cursor)
        return getattr(page, member), page.next_cursor

    async def call(self, name, arguments, hear):
        more = {"progress_callback": hear} if hear else {}
        return await self.sdk.call_tool(name, arguments, **more)


async def perform(run):
    answers = ANSWERS if run["answers"] else {}
    async with Sdk(server(run["connect"]), mode=MODES[run["era"]], **answers) as sdk:
        results = await python_plan.steps(Client(sdk), run, MCPError)
        revision = sdk.protocol_version
    return {"revision": revision, "results": results}


python_plan.main(perform)
