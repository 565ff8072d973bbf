"""A server that kern starts with `ring = true`; it works with both generations of the SDK."""

import anyio
from kernmantle.mcp import ring_server

try:
    from mcp.server.mcpserver import MCPServer as Server
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server

server = Server("python")


@server.tool()
def double(text: str) -> str:
    return text + text


async def main() -> None:
    low = getattr(server, "_lowlevel_server", None) or server._mcp_server
    async with ring_server() as (read, write):
        await low.run(read, write, low.create_initialization_options())


anyio.run(main)
