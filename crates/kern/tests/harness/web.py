"""What the harness's servers behind HTTP have in common: answers with a length, the heads of event
streams, and a life that ends with their stdin. It needs nothing but the standard library.
"""
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # An answer goes out in one piece.
    wbufsize = -1

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def reply(self, status, body=b"", kind="application/json", session=None):
        self.send_response(status)
        if body:
            self.send_header("Content-Type", kind)
        if session:
            self.send_header("Mcp-Session-Id", session)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.write(body)

    def stream(self, kind="text/event-stream", chunked=False):
        """The head of a stream, which lasts as long as its connection unless it is chunked."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.flush()

    def write(self, data):
        self.wfile.write(data)
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        """A client that hangs up in the middle, or refuses our certificate, is no news."""


def serve(handler, path="", host="127.0.0.1", context=None):
    """Serves on a free port until stdin ends; the first line of stdout is the URL."""
    server = Server(("127.0.0.1", 0), handler)
    scheme = "http"
    if context:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "https"
    print(f"{scheme}://{host}:{server.server_address[1]}{path}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()
    os._exit(0)
