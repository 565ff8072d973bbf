"""One echo tool on the official Python SDK, set up the way that makes it fastest.

With `--sessions` clients of 2025-11-25 get sessions and event streams; without, JSON answers and no
sessions. Clients of 2026-07-28 are served without a session either way. With `--stdio` instead of a
port it serves who started it.
"""

import sys

from listening import listen
from mcp.server import MCPServer

server = MCPServer("echo", log_level="ERROR")


@server.tool(structured_output=False)
async def echo(message: str) -> str:
    """Answers with the message it was given."""
    return message


def main() -> None:
    if sys.argv[1] == "--stdio":
        server.run("stdio")
        return
    port = int(sys.argv[1])
    sessions = "--sessions" in sys.argv
    app = server.streamable_http_app(json_response=not sessions, stateless_http=not sessions)
    listen(app, port)


main()
