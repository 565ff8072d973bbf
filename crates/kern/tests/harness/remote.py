"""MCP servers of old eras over HTTP: `remote.py sse|http [CERTIFICATE KEY]`.

`sse` is HTTP+SSE of 2024-11-05, `http` is Streamable HTTP of 2025-06-18 with sessions it can be made
to forget. With a certificate it serves TLS. The first line of stdout is its URL; it ends with its
stdin. It shares no code with what it tests and needs nothing but the standard library.
"""
import json
import os
import queue
import ssl
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def respond(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def message(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self):
        if MODE != "sse" or self.path != "/sse":
            return self.respond(405)
        session, out = uuid.uuid4().hex, queue.Queue()
        with LOCK:
            SESSIONS[session] = out
            COUNTS["streams"] += 1
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        # Frames as other servers write them: CR LF, a comment first, an event in two pieces.
        self.wfile.write(b": hello\r\n\r\nevent: endpoint\r\n")
        self.wfile.flush()
        self.wfile.write(b"data: /messages/?session_id=" + session.encode() + b"\r\n\r\n")
        self.wfile.flush()
        while (message := out.get()) is not None:
            text = json.dumps(message).encode()
            try:
                self.wfile.write(b"event: message\r\ndata: " + text + b"\r\n\r\n")
                self.wfile.flush()
            except OSError:
                break
        with LOCK:
            SESSIONS.pop(session, None)

    def do_POST(self):
        message = self.message()
        COUNTS["posts"] += 1
        if MODE == "sse":
            return self.post_sse(message)
        session = self.headers.get("Mcp-Session-Id")
        headers = [("Content-Type", "application/json")]
        if message.get("method") == "initialize":
            session = uuid.uuid4().hex
            with LOCK:
                SESSIONS[session] = queue.Queue()
            headers.append(("Mcp-Session-Id", session))
        elif session is None:
            return self.respond(400, b"no session")
        elif session not in SESSIONS:
            return self.respond(404, b"no such session")
        reply = answer(message, session)
        if reply is None:
            return self.respond(202)
        self.respond(200, json.dumps(reply).encode(), headers)

    def post_sse(self, message):
        if not self.path.startswith("/messages/?session_id="):
            return self.respond(405)
        session = self.path.rpartition("=")[2]
        out = SESSIONS.get(session)
        if out is None:
            return self.respond(404)
        self.respond(202, b"Accepted")

        def later():
            reply = answer(message, session)
            if reply is not None:
                out.put(reply)

        threading.Thread(target=later, daemon=True).start()

    def do_DELETE(self):
        with LOCK:
            SESSIONS.pop(self.headers.get("Mcp-Session-Id"), None)
        self.respond(204)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        """A client that refuses our certificate is no news."""


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    scheme = "http"
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "https"
    path = {"sse": "/sse", "http": "/mcp"}[MODE]
    print(f"{scheme}://localhost:{server.server_address[1]}{path}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)
