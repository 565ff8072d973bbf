"""An MCP server that says again what a real one said: `tape.py lines|http|sse legacy|modern NAME CORPUS NOW`.

CORPUS is a folder that `cargo xtask record` wrote, NAME the conversations it takes from it
(`SERVER CARRY asked|free`). NOW is a file with the number of the line that is played; a request has to
arrive in the bytes of that line but for its id and its progress token, and so has each answer to what
the server asks; else an error says what came. What gateways ask by themselves (greetings, lists) is
answered as it was to anybody.
"""
import json
import os
import queue
import sys
import threading
import uuid

import web
from mirror import CARRY, ERA, SPACE, TAG, find

CORPUS, NOW = sys.argv[4:6]
PATIENCE_S = 20
LISTS = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"]
GREETINGS = {"legacy": "initialize", "modern": "server/discover"}
LOCK = threading.Lock()
# What clients answered, by the server's id.
ANSWERED = {}
CAME = threading.Condition()


def read(name):
    with open(os.path.join(CORPUS, name), encoding="utf-8", newline="\n") as file:
        return file.read().split("\n")[:-1]


def texts():
    """Messages, each of which says what it shares with the one before, in bytes."""
    found, last = [], b""
    for line in read("texts.txt"):
        before, after, rest = line.split(" ", 2)
        last = last[:int(before)] + rest.encode() + last[len(last) - int(after):]
        found.append(last.decode())
    return found


TEXTS = texts()
HEADERS = [json.loads(line) for line in read("headers.jsonl")]


def lines_of():
    """What was left out because it was as before, or as in the request, is there again."""
    last = {}
    for line in map(json.loads, read("conversations.jsonl")):
        if "client" in line:
            last = {}
        for one in [line, *line.get("then", [])] if "c" in line else []:
            if "c" in one:
                last.update((name, one[name]) for name in ("headers", "status") if name in one)
                one.update(last)
            else:
                one.setdefault("id", line["id"])
        yield line


LINES = list(lines_of())


def spans(text):
    """Where a message names its id and its progress token, and whether it has a method."""
    root = SPACE.match(text).end()
    id, method = find(text, root, "id"), find(text, root, "method")
    place, token = root, None
    for name in ("params", "_meta", "progressToken"):
        token = find(text, place, name) if text[place] == "{" else None
        if token is None:
            break
        place = token[0]
    return id, token, method


def marked(text):
    id, token, _ = spans(text)
    places = [(id, "@ID@"), (token, "@TOKEN@")]
    for (start, end), mark in sorted((it for it in places if it[0]), reverse=True):
        text = text[:start] + mark + text[end:]
    return text


def raw(text, span):
    return text[span[0]:span[1]] if span else ""


def known():
    """What was answered to greetings and lists: the templates, by method. If possible, of clients
    of the same kind: a server may show more to those it can ask."""
    server, carry, kind = TAG.split(" ")
    found, ours = {"asked": {}, "free": {}}, None
    for line in LINES:
        if "client" in line:
            era = "legacy" if line["era"] == "legacy" else "modern"
            ours = None
            if (line["server"], line["carry"], era) == (server, carry, ERA):
                ours = found["asked" if line["asked"] else "free"]
        elif ours is not None and "then" in line:
            method = json.loads(TEXTS[line["c"]].replace("@ID@", "0").replace("@TOKEN@", "0"))["method"]
            if method in LISTS or method == GREETINGS[ERA]:
                ours.setdefault(method, TEXTS[line["then"][-1]["s"]])
    return {**found["free"], **found[kind]}


KNOWN = known()
OWN = [*LISTS, *GREETINGS.values(), "ping", "logging/setLevel", "subscriptions/listen"]


def handle(text, headers, say):
    """Answers a request; `say` takes each message, how it was carried, and whether it is the last."""
    id, token, method = spans(text)
    id, token, method = raw(text, id), raw(text, token), json.loads(raw(text, method))
    if method in OWN:
        result = "{}" if method in ("ping", "logging/setLevel") else None
        reply = '{"jsonrpc":"2.0","id":@ID@,"result":%s}' % result
        if result is None:
            reply = '{"jsonrpc":"2.0","id":@ID@,"error":{"code":-32601,"message":"not here"}}'
        return say(KNOWN.get(method, reply).replace("@ID@", id), {}, True)

    def wrong(what, came, wanted):
        error = {"code": -32099, "message": what, "data": {"came": came, "wanted": wanted}}
        reply = {"jsonrpc": "2.0", "id": "@ID@", "error": error}
        say(json.dumps(reply).replace('"@ID@"', id), {}, True)

    with open(NOW, encoding="ascii") as file:
        line = LINES[int(file.read())]
    if marked(text) != TEXTS[line["c"]]:
        return wrong("not what the client said", marked(text), TEXTS[line["c"]])
    told = {name.lower(): value for name, value in HEADERS[line["headers"]]} if "headers" in line else {}
    for name in told if CARRY == "http" and ERA == "modern" else []:
        if name.startswith("mcp-") and headers.get(name) != told[name]:
            return wrong(name, headers.get(name), told[name])
    for at, one in enumerate(line["then"]):
        last = at + 1 == len(line["then"])
        if "c" in one:
            came = answer_to(one["id"])
            if came is None or marked(came) != TEXTS[one["c"]]:
                return wrong("not what the client answered", came, TEXTS[one["c"]])
        else:
            its = id if last else one["id"]
            if last:
                one = {**one, "status": line.get("status", 200)}
            say(TEXTS[one["s"]].replace("@ID@", its).replace("@TOKEN@", token), one, last)


def answer_to(id):
    with CAME:
        CAME.wait_for(lambda: id in ANSWERED, PATIENCE_S)
        return ANSWERED.pop(id, None)


def take(text, headers, say):
    """Takes a message; whether it is a request, which is then answered."""
    id, _, method = spans(text)
    if method and id:
        handle(text, headers, say)
        return True
    if id:
        with CAME:
            ANSWERED[raw(text, id)] = text
            CAME.notify_all()
    return False


def lines():
    def say(text, *_):
        with LOCK:
            sys.stdout.buffer.write(text.encode() + b"\n")
            sys.stdout.buffer.flush()

    for line in sys.stdin.buffer:
        # What is asked in mid-call is answered while the call is played.
        threading.Thread(target=take, args=(line.decode().rstrip("\n"), {}, say), daemon=True).start()


def framed(text, one):
    head, tail = one.get("frame", ["event: message\ndata: ", "\n\n"])
    return (head + text + tail).encode()


class Tape(web.Handler):
    # What goes to the streams of sessions.
    streams = {}

    def do_POST(self):
        text = self.body().decode()
        session = self.headers.get("Mcp-Session-Id")
        greeting, begun = '"initialize"' in text, []

        def say(text, one, last):
            if one.get("own"):
                return self.streams.setdefault(session, queue.Queue()).put(framed(text, one))
            if not begun and "frame" not in one:
                status = one.get("status", 200)
                new = uuid.uuid4().hex if greeting else None
                return self.reply(status, text.encode(), session=new)
            if not begun:
                begun.append(self.stream())
            self.write(framed(text, one))

        if CARRY == "sse":
            out = self.streams.get(self.path.partition("=")[2])
            if out is None:
                return self.reply(404)
            said = (text, self.headers, lambda text, one, _: out.put(framed(text, one)))
            # The next message may come over this connection, too.
            threading.Thread(target=take, args=said, daemon=True).start()
            return self.reply(202)
        if not take(text, self.headers, say):
            self.reply(202)

    def do_GET(self):
        if ERA == "modern" or (CARRY == "sse") != (self.path == "/sse"):
            return self.reply(405)
        session = self.headers.get("Mcp-Session-Id") or uuid.uuid4().hex
        out = self.streams.setdefault(session, queue.Queue())
        self.stream()
        if CARRY == "sse":
            self.write(b"event: endpoint\ndata: /messages?sessionId=" + session.encode() + b"\n\n")
        try:
            while True:
                self.write(out.get())
        except OSError:
            pass

    def do_DELETE(self):
        self.reply(204)


def http():
    web.serve(Tape)


if __name__ == "__main__":
    {"lines": lines, "http": http, "sse": http}[CARRY]()
