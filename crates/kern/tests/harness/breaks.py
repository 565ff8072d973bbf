"""MCP servers of old eras whose streams break and whose messages come in arrays:
`breaks.py http|stdio REVISION`.

The first line of stdout of the HTTP server is its URL; both end with their stdin. They share no code
with what they test and need nothing but the standard library.
"""
import json
import sys
import time
import uuid

import web

MODE, REVISION = sys.argv[1:]
RETRY_MS = 600
# Calls whose stream was closed: by the last event's id, how to go on.
OPEN = {}
# What was asked with GET: the last event's id, and how long after the close.
GETS = []
CANCELLED = []
OWN = {"said": 0, "closed": None}
TOOLS = ["polled", "cut", "often", "refused", "silent", "array", "gets", "cancelled", "echo"]


def says(text):
    return {"content": [{"type": "text", "text": text}]}


def result(id, value):
    return {"jsonrpc": "2.0", "id": id, "result": value}


def progress(message):
    token = ((message["params"].get("_meta")) or {}).get("progressToken", 0)
    params = {"progressToken": token, "progress": 1}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


def answer(message):
    """The answer to a request that nothing breaks: one message or an array; None if there is none."""
    method, id, params = message.get("method"), message.get("id"), message.get("params") or {}
    if method == "notifications/cancelled":
        CANCELLED.append(params.get("requestId"))
    if id is None or method is None:
        return None
    if method == "initialize":
        return result(id, {
            "protocolVersion": REVISION,
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "breaks", "version": "1"},
        })
    if method == "tools/list":
        return result(id, {"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in TOOLS]})
    if method == "ping":
        return result(id, {})
    if method != "tools/call":
        return {"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no such method"}}
    name = params["name"]
    if name == "array":
        return [progress(message), result(id, says("one of several"))]
    if name == "gets":
        return result(id, says(json.dumps(GETS)))
    if name == "cancelled":
        return result(id, says(json.dumps(CANCELLED)))
    return result(id, says(json.dumps(params.get("arguments"))))


class Handler(web.Handler):
    def event(self, text):
        data = text.encode()
        self.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self, whole=True):
        if whole:
            self.write(b"0\r\n\r\n")
        self.close_connection = True

    def go_on(self, id, left, name):
        """Says from where a stream can be resumed, and breaks it."""
        place = uuid.uuid4().hex
        self.event(f"id: {place}\nretry: {RETRY_MS}\ndata: \n\n")
        OPEN[place] = {"id": id, "left": left, "name": name, "closed": time.monotonic()}
        self.end(whole=name != "cut")

    def do_POST(self):
        message = json.loads(self.body())
        name = (message.get("params") or {}).get("name")
        if message.get("method") == "tools/call" and name in TOOLS[:5]:
            self.stream(chunked=True)
            if name == "cut":
                self.event("id: begin\ndata: %s\n\n" % json.dumps(progress(message)))
            return self.go_on(message["id"], 3 if name == "often" else 0, name)
        reply = answer(message)
        if reply is None:
            return self.reply(202)
        session = uuid.uuid4().hex if message.get("method") == "initialize" else None
        self.reply(200, json.dumps(reply).encode(), session=session)

    def do_GET(self):
        place = self.headers.get("Last-Event-ID")
        call = OPEN.pop(place, None)
        if call is None:
            return self.own(place)
        GETS.append([call["name"], time.monotonic() - call["closed"]])
        if call["name"] == "refused":
            return self.reply(405)
        self.stream(chunked=True)
        if call["left"]:
            return self.go_on(call["id"], call["left"] - 1, call["name"])
        if call["name"] == "silent":
            return time.sleep(30)
        data = json.dumps(result(call["id"], says("resumed")))
        self.event(f"id: {uuid.uuid4().hex}\ndata: {data}\n\n")
        self.end()

    def own(self, place):
        """The server's own stream: it says one thing and breaks, each time."""
        if OWN["said"] > 2:
            return self.reply(405)
        GETS.append(["own", place])
        self.stream(chunked=True)
        OWN["said"] += 1
        note = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        self.event("id: own-%d\ndata: %s\n\n" % (OWN["said"], json.dumps(note)))
        self.end(whole=OWN["said"] % 2 == 1)

    def do_DELETE(self):
        self.reply(204)


def http():
    web.serve(Handler, "/mcp")


def stdio():
    for line in sys.stdin:
        reply = answer(json.loads(line))
        if reply is not None:
            print(json.dumps(reply), flush=True)


{"http": http, "stdio": stdio}[MODE]()
