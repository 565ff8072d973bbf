"""A server of 2025-11-25 over HTTP that asks on its own stream: `speaks_up.py slow|mute`.

Its tool `ask` asks its client on the stream of the client's GET, and says so if there is none: what
such servers send while nobody listens is lost. That stream stands 300 ms after it was asked for;
`mute` sends its head no sooner than the first message. The first line of stdout names
the address.
"""
import json
import queue
import sys
import time
import uuid

import web

MUTE = sys.argv[1] == "mute"
STREAMS, ANSWERS = {}, {}
FORM = {"message": "who?", "requestedSchema": {
    "type": "object", "properties": {"name": {"type": "string"}}}}


def ask(session):
    stream, id = STREAMS.get(session), uuid.uuid4().hex
    if stream is None:
        return "nobody listens"
    ANSWERS[id] = queue.Queue()
    stream.put({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": FORM})
    return json.dumps(ANSWERS[id].get(timeout=20)["result"])


def result(message, session):
    match message["method"]:
        case "initialize":
            return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                    "serverInfo": {"name": "speaks-up", "version": "1"}}
        case "tools/list":
            return {"tools": [{"name": "ask", "inputSchema": {"type": "object"}}]}
        case "tools/call":
            return {"content": [{"type": "text", "text": ask(session)}]}
    return {}


class Handler(web.Handler):
    def do_POST(self):
        message = json.loads(self.body())
        session = self.headers.get("Mcp-Session-Id") or uuid.uuid4().hex
        if message.get("method") == "server/discover":
            return self.reply(400)
        if "method" not in message:
            ANSWERS[message["id"]].put(message)
        if "method" not in message or "id" not in message:
            return self.reply(202)
        reply = {"jsonrpc": "2.0", "id": message["id"], "result": result(message, session)}
        self.reply(200, json.dumps(reply).encode(), session=session)

    def do_GET(self):
        session, stream = self.headers["Mcp-Session-Id"], queue.Queue()
        time.sleep(0.3)
        STREAMS[session] = stream
        if not MUTE:
            self.stream()
        message = stream.get()
        if MUTE:
            self.stream()
        while message:
            self.write(b"data: " + json.dumps(message).encode() + b"\n\n")
            message = stream.get()

    def do_DELETE(self):
        self.reply(204)


if __name__ == "__main__":
    web.serve(Handler)
