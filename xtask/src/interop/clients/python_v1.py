"""Runs a plan (python_plan.py) with the Python SDK, version 1."""

from contextlib import asynccontextmanager

import httpx
import python_plan
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client


@asynccontextmanager
async def connect(to):
    if "stdio" in to:
        async with stdio_client(StdioServerParameters(**python_plan.child(to))) as (read, write):
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
    return types.ElicitResult(action="accept", content=python_plan.CONTENT)


async def sample(context, params):
    text = types.TextContent(type="text", text=python_plan.TEXT)
    return types.CreateMessageResult(
        role="assistant", model="rope", stopReason="endTurn", content=text
    )


async def roots(context):
    return types.ListRootsResult(roots=[types.Root(**python_plan.ROOT)])


ANSWERS = {
    "elicitation_callback": elicit,
    "sampling_callback": sample,
    "list_roots_callback": roots,
}


class Client:
    def __init__(self, session):
        self.session = session
        self.read = session.read_resource
        self.prompt = session.get_prompt

    async def page(self, method, cursor):
        ask, member = {
            "tools/list": (self.session.list_tools, "tools"),
            "prompts/list": (self.session.list_prompts, "prompts"),
            "resources/list": (self.session.list_resources, "resources"),
            "resources/templates/list": (self.session.list_resource_templates, "resourceTemplates"),
        }[method]
        page = await ask(cursor)
        return getattr(page, member), page.nextCursor

    async def call(self, name, arguments, hear):
        more = {"progress_callback": hear} if hear else {}
        return await self.session.call_tool(name, arguments, **more)


async def perform(run):
    answers = ANSWERS if run["answers"] else {}
    async with connect(run["connect"]) as (read, write):
        async with ClientSession(read, write, **answers) as session:
            revision = (await session.initialize()).protocolVersion
            results = await python_plan.steps(Client(session), run, McpError)
    return {"revision": revision, "results": results}


python_plan.main(perform)
