"""One echo tool on fastmcp, or with `--proxy URL` fastmcp's proxy of an MCP server behind a URL.

With `--sessions` clients of 2025-11-25 get sessions and event streams; without, JSON answers and no
sessions. Clients of 2026-07-28 are served without a session either way.
"""

import sys

from fastmcp import FastMCP
from listening import listen


def echoing() -> FastMCP:
    server = FastMCP("echo")

    @server.tool(output_schema=None)
    async def echo(message: str) -> str:
        """Answers with the message it was given."""
        return message

    return server


def main() -> None:
    port = int(sys.argv[1])
    sessions = "--sessions" in sys.argv
    if "--proxy" in sys.argv:
        from fastmcp.server import create_proxy

        server = create_proxy(sys.argv[sys.argv.index("--proxy") + 1])
    else:
        server = echoing()
    app = server.http_app(path="/mcp", json_response=not sessions, stateless_http=not sessions)
    listen(app, port)


main()
