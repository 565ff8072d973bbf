"""A server on the Python SDK, version 2, whose tools ask the client.

It speaks both eras: a client of 2026-07-28 gets `input_required`, an older one a request of the
server's in mid-call. It speaks over stdio, or over HTTP at the port that is its argument.
"""

import sys
from typing import Annotated

import mcp_types as types
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from pydantic import BaseModel

server = MCPServer("asker")


class Person(BaseModel):
    name: str
    check: bool
    integer: int
    untitledSingleSelectEnum: str


def person() -> Elicit[Person]:
    return Elicit("Who are you?", Person)


def bend() -> Sample:
    text = types.TextContent(type="text", text="which bend?")
    return Sample([types.SamplingMessage(role="user", content=text)], max_tokens=9)


def roots() -> ListRoots:
    return ListRoots()


def second(who: Annotated[Person, Resolve(person)]) -> Sample:
    text = types.TextContent(type="text", text=f"which bend for {who.name}?")
    return Sample([types.SamplingMessage(role="user", content=text)], max_tokens=9)


@server.tool()
def plain(knot: str) -> str:
    """Asks nothing."""
    return f"a {knot}"


@server.tool()
def ask_name(who: Annotated[Person, Resolve(person)]) -> str:
    """Asks who the user is."""
    return f"{who.name} {who.check} {who.integer} {who.untitledSingleSelectEnum}"


@server.tool()
def ask_model(said: Annotated[types.CreateMessageResult, Resolve(bend)]) -> str:
    """Asks the client's model."""
    return f"{said.model}: {said.content.text}"


@server.tool()
def ask_roots(known: Annotated[types.ListRootsResult, Resolve(roots)]) -> str:
    """Asks for the client's roots."""
    return ", ".join(f"{root.name} {root.uri}" for root in known.roots)


@server.tool()
def ask_at_once(
    who: Annotated[Person, Resolve(person)],
    known: Annotated[types.ListRootsResult, Resolve(roots)],
) -> str:
    """Asks two things at once."""
    return f"{who.name} in {len(known.roots)}"


@server.tool()
def ask_twice(
    who: Annotated[Person, Resolve(person)],
    said: Annotated[types.CreateMessageResult, Resolve(second)],
) -> str:
    """Asks one thing, and then another that depends on the answer."""
    return f"{who.name}: {said.content.text}"


if len(sys.argv) > 1:
    server.run("streamable-http", port=int(sys.argv[1]))
else:
    server.run()
