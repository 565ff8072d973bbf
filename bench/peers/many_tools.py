"""A server on stdin and stdout with as many tools as its argument says; the last is `echo`."""

import json
import sys

SCHEMA = {"type": "object", "properties": {"message": {"type": "string"}}}
NAMES = [f"tool_{at}" for at in range(int(sys.argv[1]) - 1)] + ["echo"]
TOOLS = [{"name": n, "description": "Says it back.", "inputSchema": SCHEMA} for n in NAMES]
GREETING = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "many", "version": "1"},
}


def answer(method: str, params: dict) -> dict | None:
    if method == "initialize":
        return GREETING
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": params["arguments"]["message"]}]}
    return {} if method == "ping" else None


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    result = answer(message["method"], message.get("params", {}))
    if result is None:
        reply["error"] = {"code": -32601, "message": "no such method"}
    else:
        reply["result"] = result
    print(json.dumps(reply, separators=(",", ":")), flush=True)
