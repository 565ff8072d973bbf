"""MCP servers of old eras over HTTP: `remote.py sse|http [CERTIFICATE KEY]`.

`sse` is HTTP+SSE of 2024-11-05, `http` is Streamable HTTP of 2025-06-18 with sessions it can be made
to forget. With a certificate it serves TLS. The first line of stdout is its URL; it ends with its
stdin. It shares no code with what it tests and needs nothing but the standard library.
"""
import json
import queue
import ssl
import sys
import threading
import time
import uuid

import web

MODE = sys.argv[1]
REVISION = {"sse": "2024-11-05", "http": "2025-06-18"}[MODE]
LOCK = threading.Lock()
SESSIONS = {}
COUNTS = {"greetings": 0, "streams": 0, "posts": 0}
ANSWERS = {}


def says(text):
    return {"content": [{"type": "text", "text": text}]}


def run(name, arguments, session):
    if name == "echo":
        return says(json.dumps(arguments))
    if name == "late":
        time.sleep(arguments["ms"] / 1000)
        return says("late")
    if name == "counts":
        return says(json.dumps(COUNTS))
    if name == "forget":
        with LOCK:
            SESSIONS.clear()
        return says("forgotten")
    if name == "hang up":
        SESSIONS[session].put(None)
        return None
    if name == "ask":
        id = "ask-" + uuid.uuid4().hex
        ANSWERS[id] = queue.Queue()
        params = {"message": arguments["message"],
                  "requestedSchema": {"type": "object", "properties": {}}}
        SESSIONS[session].put(
            {"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params})
        return says(json.dumps(ANSWERS[id].get()))
    return says("no such tool")


def answer(message, session):
    method, id = message.get("method"), message.get("id")
    params = message.get("params") or {}
    if method is None and id in ANSWERS:
        ANSWERS[id].put(message.get("result", message.get("error")))
    if id is None or method is None:
        return None
    if method == "initialize":
        COUNTS["greetings"] += 1
        result = {
            "protocolVersion": REVISION,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "remote", "version": "1"},
        }
    elif method == "tools/list":
        names = ["echo", "late", "counts", "forget", "hang up", "ask"]
        result = {"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in names]}
    elif method == "tools/call":
        result = run(params["name"], params.get("arguments") or {}, session)
    elif method == "ping":
        result = {}
    else:
        error = {"code": -32601, "message": "no such method: " + str(method)}
        return {"jsonrpc": "2.0", "id": id, "error": error}
    return None if result is None else {"jsonrpc": "2.0", "id": id, "result": result}


class Handler(web.Handler):
    def do_GET(self):
        if MODE != "sse" or self.path != "/sse":
            return self.reply(405)
        session, out = uuid.uuid4().hex, queue.Queue()
        with LOCK:
            SESSIONS[session] = out
            COUNTS["streams"] += 1
        self.stream("text/event-stream; charset=utf-8")
        # Frames as other servers write them: CR LF, a comment first, an event in two pieces.
        self.write(b": hello\r\n\r\nevent: endpoint\r\n")
        self.write(b"data: /messages/?session_id=" + session.encode() + b"\r\n\r\n")
        while (message := out.get()) is not None:
            text = json.dumps(message).encode()
            try:
                self.write(b"event: message\r\ndata: " + text + b"\r\n\r\n")
            except OSError:
                break
        with LOCK:
            SESSIONS.pop(session, None)

    def do_POST(self):
        message = json.loads(self.body())
        COUNTS["posts"] += 1
        if MODE == "sse":
            return self.post_sse(message)
        session = self.headers.get("Mcp-Session-Id")
        greeted = None
        if message.get("method") == "initialize":
            session = greeted = uuid.uuid4().hex
            with LOCK:
                SESSIONS[session] = queue.Queue()
        elif session is None:
            return self.reply(400, b"no session", "text/plain")
        elif session not in SESSIONS:
            return self.reply(404, b"no such session", "text/plain")
        reply = answer(message, session)
        if reply is None:
            return self.reply(202)
        self.reply(200, json.dumps(reply).encode(), session=greeted)

    def post_sse(self, message):
        if not self.path.startswith("/messages/?session_id="):
            return self.reply(405)
        session = self.path.rpartition("=")[2]
        out = SESSIONS.get(session)
        if out is None:
            return self.reply(404)
        self.reply(202, b"Accepted", "text/plain")

        def later():
            reply = answer(message, session)
            if reply is not None:
                out.put(reply)

        threading.Thread(target=later, daemon=True).start()

    def do_DELETE(self):
        with LOCK:
            SESSIONS.pop(self.headers.get("Mcp-Session-Id"), None)
        self.reply(204)


if __name__ == "__main__":
    context = None
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
    web.serve(Handler, {"sse": "/sse", "http": "/mcp"}[MODE], "localhost", context)
