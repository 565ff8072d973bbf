"""The server of `server.py` over Streamable HTTP of 2025-11-25, with sessions.

The first line of stdout names the address; the end of stdin ends the process.
"""
import json
import uuid

import server
import web

SESSIONS = {}


class Streamable(web.Handler):
    def answer(self, raw, message):
        """The answer's bytes, or None."""
        reply = server.scripted(message, raw)
        if reply is not None:
            return reply
        reply = server.answer(message)
        return None if reply is None else json.dumps(reply).encode()

    def do_POST(self):
        raw = self.body()
        message = json.loads(raw)
        session = self.headers.get("Mcp-Session-Id")
        if message.get("method") == "initialize":
            session = uuid.uuid4().hex
            SESSIONS[session] = True
            return self.reply(200, self.answer(raw, message), session=session)
        if message.get("method") == "server/discover":
            return self.reply(400, b"say initialize", "text/plain")
        if session not in SESSIONS:
            return self.reply(404)
        reply = self.answer(raw, message)
        if reply is None:
            return self.reply(202)
        kind = "text/event-stream" if reply.startswith(b"event:") else "application/json"
        return self.reply(200, reply, kind)

    def do_GET(self):
        if self.path == "/sessions":
            return self.reply(200, str(len(SESSIONS)).encode(), "text/plain")
        self.reply(405)

    def do_DELETE(self):
        known = SESSIONS.pop(self.headers.get("Mcp-Session-Id"), None)
        self.reply(404 if known is None else 204)


if __name__ == "__main__":
    web.serve(Streamable)
