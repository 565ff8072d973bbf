"""MCP servers of the old era over HTTP: `server_http.py MODE [CERTIFICATE KEY]`.

MODE is `http` (Streamable HTTP of 2025-11-25) or `sse` (HTTP+SSE of 2024-11-05). The first line of
stdout names the address; the end of stdin ends the process.
"""
import json
import os
import queue
import ssl
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import server

SESSIONS = {}
COUNTS = {"initialize": 0, "delete": 0, "unknown": 0}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", kind="application/json", **headers):
        self.send_response(status)
        if body:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, raw, message):
        """The answer's bytes, or None."""
        name = (message.get("params") or {}).get("name")
        reply = server.scripted(message, raw)
        if reply is not None:
            return reply
        if message.get("method") == "tools/call" and name == "forget":
            SESSIONS.clear()
            result = server.says(json.dumps(COUNTS))
            return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        reply = server.answer(message)
        return None if reply is None else json.dumps(reply).encode()


class Streamable(Handler):
    def do_POST(self):
        raw = self.body()
        message = json.loads(raw)
        session = self.headers.get("Mcp-Session-Id")
        if message.get("method") == "initialize":
            COUNTS["initialize"] += 1
            session = uuid.uuid4().hex
            SESSIONS[session] = True
            return self.reply(200, self.answer(raw, message), Mcp_Session_Id=session)
        if message.get("method") == "server/discover":
            return self.reply(400, b"say initialize", "text/plain")
        if session not in SESSIONS:
            COUNTS["unknown"] += 1
            return self.reply(404)
        reply = self.answer(raw, message)
        if reply is None:
            return self.reply(202)
        kind = "text/event-stream" if reply.startswith(b"event:") else "application/json"
        return self.reply(200, reply, kind)

    def do_GET(self):
        self.reply(405)

    def do_DELETE(self):
        COUNTS["delete"] += 1
        known = SESSIONS.pop(self.headers.get("Mcp-Session-Id"), None)
        self.reply(404 if known is None else 204)


class EventStream(Handler):
    def do_GET(self):
        if self.path != "/sse":
            return self.reply(404)
        session = uuid.uuid4().hex
        SESSIONS[session] = events = queue.Queue()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        events.put("event: endpoint\ndata: /messages?session=" + session + "\n\n")
        while True:
            event = events.get()
            if event is None:
                return None
            self.wfile.write(event.encode())
            self.wfile.flush()

    def do_POST(self):
        events = SESSIONS.get(self.path.partition("session=")[2])
        raw = self.body()
        if events is None:
            return self.reply(404)
        self.reply(202, b"Accepted", "text/plain")
        message = json.loads(raw)
        if (message.get("params") or {}).get("name") == "forget":
            # The stream ends without an answer.
            return events.put(None)
        reply = self.answer(raw, message)
        if reply is not None:
            events.put("event: message\ndata: " + reply.decode() + "\n\n")
        return None


if __name__ == "__main__":
    listener = ThreadingHTTPServer(
        ("127.0.0.1", 0), {"http": Streamable, "sse": EventStream}[sys.argv[1]]
    )
    listener.daemon_threads = True
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
    print("http://127.0.0.1:%d" % listener.server_address[1], flush=True)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()
    os._exit(0)
