"""MCP servers of the old era over stdio that misbehave as told: `server.py MODE`, see STDIO below.

They share no code with what they test and need nothing but the standard library.
"""
import json
import os
import signal
import sys
import threading
import time

OUT = sys.stdout.buffer
LOCK = threading.Lock()


def write(data):
    with LOCK:
        OUT.write(data)
        OUT.flush()


def send(message):
    write(json.dumps(message).encode() + b"\n")


def tool(name):
    return {"name": name, "description": name, "inputSchema": {"type": "object"}}


TOOLS = ["pid", "echo", "hang", "die", "flood", "late", "env", "odd", "asks"]


def says(text):
    return {"content": [{"type": "text", "text": text}]}


ANSWERS = {}
# What the client declared, and whether the list of tools depends on it.
DECLARED = {}
CHOOSY = len(sys.argv) > 1 and sys.argv[1] == "choosy"


def asks(arguments):
    """Asks as it is told: `requests` are sent at once, each under an id of its own; then `then`:
    `wait` for all, `go` on after `ms` without, `withdraw` them after `ms` and wait for the first,
    or `die`."""
    sent = []
    for request in arguments["requests"]:
        id = "ask-%d" % len(ANSWERS)
        ANSWERS[id] = None
        sent.append(id)
        send({"jsonrpc": "2.0", "id": id, **request})
    then = arguments.get("then", "wait")
    if then != "wait":
        time.sleep(arguments.get("ms", 0) / 1000)
    if then == "die":
        os._exit(7)
    if then == "withdraw":
        for id in sent[1:]:
            send({"jsonrpc": "2.0", "method": "notifications/cancelled",
                  "params": {"requestId": id}})
        sent = sent[:1]
    while then != "go" and None in (ANSWERS[id] for id in sent):
        time.sleep(0.005)
    return says(json.dumps([ANSWERS[id] for id in sent]))


def run(name, arguments):
    """The result of a tool; None if there is to be no answer."""
    if name == "asks":
        return asks(arguments)
    if name == "gift":
        return says("a gift")
    if name == "pid":
        return says(str(os.getpid()))
    if name == "echo":
        return says(json.dumps(arguments))
    if name == "env":
        return says(json.dumps(dict(os.environ)))
    if name == "die":
        os._exit(int(arguments.get("status", 7)))
    if name == "late":
        time.sleep(arguments["ms"] / 1000)
        return says("late")
    if name == "flood":
        # One line that is no message and longer than any limit.
        write(b"x" * (10 << 20) + b"\n")
        return says("flooded")
    return None


def answer(message):
    """The JSON-RPC answer to a request; None if there is to be none."""
    method, id = message.get("method"), message.get("id")
    params = message.get("params") or {}
    if method is None and id in ANSWERS:
        ANSWERS[id] = message.get("result", message.get("error"))
    if id is None or method is None:
        return None
    if method == "initialize":
        DECLARED.update(params["capabilities"])
        result = {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "odd", "version": "1"},
        }
    elif method == "tools/list":
        more = ["gift"] if CHOOSY and "elicitation" in DECLARED else []
        result = {"tools": [tool(name) for name in TOOLS + more]}
        if sys.argv[1:] == ["app"]:
            result["tools"][0]["_meta"] = {"ui": {"resourceUri": "ui://odd/w"}}
            result["tools"][1]["_meta"] = {"ui": {"visibility": ["model"]}}
    elif method == "tools/call":
        result = run(params["name"], params.get("arguments") or {})
    elif method == "ping":
        result = {}
    else:
        error = {"code": -32601, "message": "no such method: " + str(method)}
        return {"jsonrpc": "2.0", "id": id, "error": error}
    if result is None:
        return None
    return {"jsonrpc": "2.0", "id": id, "result": result}


def serve(before=lambda: None):
    """Each request in a thread of its own, until stdin ends."""

    def handle(message):
        reply = answer(message)
        if reply is not None:
            before()
            send(reply)

    for line in sys.stdin.buffer:
        threading.Thread(target=handle, args=(json.loads(line),), daemon=True).start()


def garbage():
    serve(lambda: write(
        b"Starting up...\n\n\xff\xfe\x00\n{\"jsonrpc\":\"2.0\"\nnull\n[]\n{}\n42\n\"text\"\n"
        b"{\"jsonrpc\":\"2.0\",\"id\":123456789,\"result\":{}}\n"
        b"{\"jsonrpc\":\"2.0\",\"id\":\"k999\",\"result\":{}}\n"
        b"{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{}}\n"
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"roots/list\"}\n"
        b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/none\"}\n"
        b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n"
        + b"[" * 100000 + b"\n"))


def scripted(message, raw):
    """The answer to a call of the tool `odd`: the bytes of the file `answer` in HOME, with @ID@ and
    @TOKEN@ filled in. The request's own bytes go to the file `got`. None for anything else."""
    if (message.get("params") or {}).get("name") != "odd":
        return None
    home = os.environ["HOME"]
    with open(os.path.join(home, "got"), "wb") as file:
        file.write(raw)
    with open(os.path.join(home, "answer"), "rb") as file:
        reply = file.read()
    token = ((message["params"].get("_meta")) or {}).get("progressToken")
    reply = reply.replace(b"@ID@", json.dumps(message["id"]).encode())
    return reply.replace(b"@TOKEN@", json.dumps(token).encode())


def raw():
    for line in sys.stdin.buffer:
        message = json.loads(line)
        reply = scripted(message, line)
        if reply is not None:
            write(reply)
            continue
        reply = answer(message)
        if reply is not None:
            send(reply)


def mute():
    for _ in sys.stdin.buffer:
        pass


def chatter():
    def talk():
        line = b"e" * 4000 + b"\n"
        while True:
            os.write(2, line)

    threading.Thread(target=talk, daemon=True).start()
    serve()


def deaf():
    """Answers until its tools are known, then reads no more."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        reply = answer(message)
        if reply is not None:
            send(reply)
        if message.get("method") == "tools/list":
            break
    time.sleep(3600)


def stubborn():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    serve()
    time.sleep(3600)


def family():
    """Leaves a grandchild in a session of its own, and one in its group."""
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    if os.fork() == 0:
        time.sleep(3600)
    serve()


def crash_loop():
    sys.stderr.write("cannot find my database\n")
    sys.exit(3)


def slow():
    time.sleep(1.5)
    serve()


def half():
    """Answers the greeting, then closes stdout but stays."""
    for line in sys.stdin.buffer:
        reply = answer(json.loads(line))
        if reply is not None:
            send(reply)
        if json.loads(line).get("method") == "tools/list":
            break
    time.sleep(0.5)
    os.close(1)
    time.sleep(3600)


def endless():
    """Its list of tools has no last page."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        reply = answer(message)
        if reply is not None and message.get("method") == "tools/list":
            page = int((message.get("params") or {}).get("cursor") or 0)
            reply["result"] = {"tools": [tool("t%d" % page)], "nextCursor": str(page + 1)}
        if reply is not None:
            send(reply)


def bad_tools(deep=False):
    """Its list of tools holds what clients choke on, between two good ones."""
    bad = [
        tool(""), tool("x" * 5000), tool("na me"), tool("\u00fc"), tool("a/b"), tool("pid"),
        {"name": 1, "inputSchema": {}}, {"inputSchema": {}}, None, [], "pid",
        {"name": "no-schema"}, {"name": "huge", "inputSchema": {"x": "y" * 3000000}},
    ]
    if deep:
        bad = [{"name": "deep", "inputSchema": nested(300)}]
    for line in sys.stdin.buffer:
        message = json.loads(line)
        reply = answer(message)
        if reply is not None and message.get("method") == "tools/list":
            reply["result"] = {"tools": [tool("pid")] + bad + [tool("echo")], "x": [1]}
        if reply is not None:
            send(reply)


def nested(depth):
    return {"properties": {"x": nested(depth - 1)}} if depth else {}


def restless():
    """Says at each listing that the list has changed."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        reply = answer(message)
        if reply is not None:
            send(reply)
        if message.get("method") == "tools/list":
            for _ in range(100):
                send({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})


def spray():
    """Answers every call thrice, and answers its neighbours' calls as well."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        reply = answer(message)
        if reply is None:
            continue
        if message.get("method") == "tools/call":
            own = message["id"]
            for other in [*range(own - 300, own + 300), *range(300)]:
                if other != own:
                    send({"jsonrpc": "2.0", "id": other, "result": says("forged")})
                    params = {"progressToken": other, "progress": 1, "message": "forged"}
                    note = {"method": "notifications/progress", "params": params}
                    send({"jsonrpc": "2.0", **note})
            for number in range(40):
                send({"jsonrpc": "2.0", "id": "k%d" % number, "result": {"tools": []}})
            send(reply)
            send(reply)
        send(reply)


def torrent():
    """Reports progress without end from the first call on."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message.get("method") != "tools/call":
            reply = answer(message)
            if reply is not None:
                send(reply)
            continue
        token = message["params"]["_meta"]["progressToken"]
        note = {"progressToken": token, "progress": 1, "message": "m" * 4000}
        note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": note}
        while True:
            send(note)


def jobs():
    """One task that has ended, and whose result never comes. The file `cancelled` in HOME holds the id
    of each request that was given up."""
    results = {
        "initialize": {
            "protocolVersion": "2025-11-25", "serverInfo": {"name": "jobs", "version": "1"},
            "capabilities": {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}},
        },
        "tools/list": {"tools": [{**tool("job"), "execution": {"taskSupport": "required"}}]},
        "tools/call": {"task": {"taskId": "1", "status": "working", "ttl": None}},
        "tasks/get": {"taskId": "1", "status": "completed", "ttl": None},
    }
    for line in sys.stdin.buffer:
        message = json.loads(line)
        method = message.get("method")
        if method == "notifications/cancelled":
            with open(os.path.join(os.environ["HOME"], "cancelled"), "a") as file:
                print(message["params"]["requestId"], file=file)
        elif "id" in message and method != "tasks/result":
            reply = {"result": results[method]} if method in results else {
                "error": {"code": -32601, "message": "no such method"}}
            send({"jsonrpc": "2.0", "id": message["id"], **reply})


STDIO = {
    "plain": serve, "garbage": garbage, "mute": mute, "chatter": chatter, "deaf": deaf,
    "stubborn": stubborn, "family": family, "crash-loop": crash_loop, "slow": slow, "half": half,
    "raw": raw, "endless": endless, "bad-tools": bad_tools,
    "deep-tools": lambda: bad_tools(deep=True), "restless": restless, "spray": spray,
    "torrent": torrent, "choosy": serve, "app": serve, "jobs": jobs,
}

if __name__ == "__main__":
    STDIO[sys.argv[1]]()
