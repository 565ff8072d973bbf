"""Runs a plan (python_plan.py) with fastmcp's client."""

import httpx2
import mcp_types as types
import python_plan
from fastmcp import Client as Sdk
from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport
from mcp import MCPError

MODES = {"legacy": "legacy", "auto": "auto", "modern": "2026-07-28"}


def transport(to):
    if "stdio" in to:
        return StdioTransport(**python_plan.child(to), keep_alive=False)
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
    return python_plan.CONTENT


async def sample(messages, params, context):
    text = types.TextContent(type="text", text=python_plan.TEXT)
    return types.CreateMessageResult(
        role="assistant", model="rope", stop_reason="endTurn", content=text
    )


ANSWERS = {
    "elicitation_handler": elicit,
    "sampling_handler": sample,
    "roots": [types.Root(**python_plan.ROOT)],
}


class Client:
    def __init__(self, sdk):
        self.sdk = sdk
        self.read = sdk.read_resource_mcp
        self.prompt = sdk.get_prompt_mcp

    async def page(self, method, cursor):
        ask, member = {
            "tools/list": (self.sdk.list_tools_mcp, "tools"),
            "prompts/list": (self.sdk.list_prompts_mcp, "prompts"),
            "resources/list": (self.sdk.list_resources_mcp, "resources"),
            "resources/templates/list": (
                self.sdk.list_resource_templates_mcp,
                "resource_templates",
            ),
        }[method]
        page = await ask(cursor=cursor)
        return getattr(page, member), page.next_cursor

    async def call(self, name, arguments, hear):
        more = {"progress_handler": hear} if hear else {}
        return await self.sdk.call_tool_mcp(name, arguments, **more)


async def perform(run):
    answers = ANSWERS if run["answers"] else {}
    over = transport(run["connect"])
    async with Sdk(over, mode=MODES[run["era"]], **answers) as sdk:
        results = await python_plan.steps(Client(sdk), run, MCPError)
        revision = sdk.protocol_version
    return {"revision": revision, "results": results}


python_plan.main(perform)
