"""An MCP server that answers with what it was told to answer: `mirror.py lines|http legacy|modern TAG`.

The member `answer` of a request's params is the whole answer, `first` a message before it; in both
@ID@ and @TOKEN@ stand for the request's own bytes of these, and @GOT@ for the hexadecimal digits of
all its bytes. TAG is the scheme of its resources. Over HTTP the first line of stdout names the
address. It ends with its stdin, and needs nothing but the standard library.
"""
import json
import re
import sys
import uuid

import web

CARRY, ERA, TAG = sys.argv[1:4]
DECODER = json.JSONDecoder(parse_int=str, parse_float=str, strict=True)
SPACE = re.compile(r"[ \t\r\n]*")
SESSIONS = set()


def members(text, at):
    """The members of the object that begins at `at`: name, start and end of each value."""
    at = SPACE.match(text, at + 1).end()
    while text[at] != "}":
        name, at = json.decoder.scanstring(text, at + 1, True)
        at = SPACE.match(text, at).end()
        start = SPACE.match(text, at + 1).end()
        at = DECODER.raw_decode(text, start)[1]
        yield name, start, at
        at = SPACE.match(text, at).end()
        if text[at] == ",":
            at = SPACE.match(text, at + 1).end()


def find(text, at, name):
    for known, start, end in members(text, at):
        if known == name:
            return start, end
    return None


def filled(template, text, raw):
    id = find(text, SPACE.match(text).end(), "id")
    place = SPACE.match(text).end()
    token = None
    for name in ("params", "_meta", "progressToken"):
        token = find(text, place, name)
        if token is None:
            break
        place = token[0]
    template = template.replace("@ID@", text[id[0]:id[1]])
    if token is not None:
        template = template.replace("@TOKEN@", text[token[0]:token[1]])
    return template.replace("@GOT@", raw.hex()).encode()


def listed(result):
    if ERA == "modern":
        result = {"resultType": "complete", "ttlMs": 0, "cacheScope": "public", **result}
    return result


def known(method, params):
    """The result of a method of its own; None for what it was not told about."""
    info = {"name": "mirror", "version": "1"}
    capabilities = {"tools": {}, "prompts": {}, "resources": {}, "completions": {}}
    if method == "initialize" and ERA == "legacy":
        return {
            "protocolVersion": params["protocolVersion"], "capabilities": capabilities,
            "serverInfo": info,
        }
    if method == "server/discover" and ERA == "modern":
        return listed({
            "supportedVersions": ["2026-07-28"], "capabilities": capabilities,
            "_meta": {"io.modelcontextprotocol/serverInfo": info},
        })
    if method == "tools/list":
        return listed({"tools": [{"name": "odd", "inputSchema": {"type": "object"}}]})
    if method == "prompts/list":
        return listed({"prompts": [{"name": "odd"}]})
    if method == "resources/list":
        return listed({"resources": []})
    if method == "resources/templates/list":
        return listed({"resourceTemplates": [{"name": "all", "uriTemplate": TAG + "://{id}"}]})
    if method == "ping":
        return {}
    return None


def answers(raw):
    """The messages a message is answered with, and whether it was a greeting."""
    text = raw.decode()
    message = DECODER.decode(text)
    method = message.get("method")
    if "id" not in message or method is None:
        return [], False
    params = message.get("params") or {}
    if "answer" in params:
        told = [params["first"]] if "first" in params else []
        return [filled(told, text, raw) for told in [*told, params["answer"]]], False
    result = known(method, params)
    reply = '{"jsonrpc":"2.0","id":@ID@,"result":%s}' % json.dumps(result)
    if result is None:
        reply = '{"jsonrpc":"2.0","id":@ID@,"error":{"code":-32601,"message":"not here"}}'
    return [filled(reply, text, raw)], method == "initialize"


def lines():
    for line in sys.stdin.buffer:
        for reply in answers(line)[0]:
            sys.stdout.buffer.write(reply + b"\n")
        sys.stdout.buffer.flush()


class Streamable(web.Handler):
    def do_POST(self):
        raw = self.body()
        replies, greeting = answers(raw)
        session = self.headers.get("Mcp-Session-Id")
        if greeting:
            session = uuid.uuid4().hex
            SESSIONS.add(session)
            return self.reply(200, replies[0], session=session)
        if ERA == "legacy" and session not in SESSIONS:
            return self.reply(400 if session is None else 404)
        if not replies:
            return self.reply(202)
        if len(replies) == 1:
            return self.reply(200, replies[0])
        # An event's data may have several lines, but knows one kind of line break.
        data = [reply.replace(b"\r", b" ").replace(b"\n", b"\ndata: ") for reply in replies]
        events = b"".join(b"event: message\ndata: " + reply + b"\n\n" for reply in data)
        self.reply(200, events, "text/event-stream")

    def do_GET(self):
        self.reply(405)

    def do_DELETE(self):
        self.reply(204 if ERA == "legacy" else 405)


def http():
    web.serve(Streamable)


if __name__ == "__main__":
    {"lines": lines, "http": http}[CARRY]()
