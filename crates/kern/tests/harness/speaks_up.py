"""A server of 2025-11-25 over HTTP that asks on its own stream: `speaks_up.py slow|mute`.

Its tool `ask` asks its client on the stream of the client's GET, and says so if there is none: what
such servers send while nobody listens is lost. That stream stands 300 ms after it was asked for;
`mute` sends its head no sooner than the first message. The first line of stdout names
the address.
"""
import json
import os
import queue
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def respond(self, status, body=b"", session=None):
        self.send_response(status)
        if session:
            self.send_header("Mcp-Session-Id", session)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        session = self.headers.get("Mcp-Session-Id") or uuid.uuid4().hex
        if message.get("method") == "server/discover":
            return self.respond(400)
        if "method" not in message:
            ANSWERS[message["id"]].put(message)
        if "method" not in message or "id" not in message:
            return self.respond(202)
        reply = {"jsonrpc": "2.0", "id": message["id"], "result": result(message, session)}
        self.respond(200, json.dumps(reply).encode(), session)

    def head(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()

    def do_GET(self):
        session, stream = self.headers["Mcp-Session-Id"], queue.Queue()
        time.sleep(0.3)
        STREAMS[session] = stream
        if not MUTE:
            self.head()
        message = stream.get()
        if MUTE:
            self.head()
        while message:
            self.wfile.write(b"data: " + json.dumps(message).encode() + b"\n\n")
            message = stream.get()

    def do_DELETE(self):
        self.respond(204)


if __name__ == "__main__":
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    # Who hangs up in the middle of an answer is no news.
    listener.handle_error = lambda *_: None
    print("http://127.0.0.1:%d" % listener.server_address[1], flush=True)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()
    os._exit(0)
