"""What the clients on a Python SDK have in common: how a plan is read, run and answered.

The plan (a file, JSON) lists runs: where to connect, in which era, whether to answer what servers
ask, and the requests to send. Each run prints one line of JSON:
{"id": ..., "revision": ..., "results": [...]}, or {"id": ..., "failed": ...}.
"""

import asyncio
import json
import os
import sys

# What a user fills in, what a model says, what a client shows.
CONTENT = {"name": "Ada", "check": True, "integer": 7, "untitledSingleSelectEnum": "Ross"}
TEXT = "a double fisherman's bend"
ROOT = {"uri": "file:///rope", "name": "rope"}
RUN_S = 150
START_S = 60
MEMBERS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}


def child(to):
    """The command that a run starts, and its environment."""
    command, *args = to["stdio"]
    return {"command": command, "args": args, "env": {**os.environ, **to.get("env", {})}}


def dump(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def drain(page, method):
    """All items of a list; `page` takes a method and a cursor, and gives items and the next."""
    found, cursor = [], None
    while True:
        items, cursor = await page(method, cursor)
        found += items
        if cursor is None:
            return {MEMBERS[method]: [dump(item) for item in found]}


async def patient(page, method, name):
    """Lists until the tool is there: a server of the client's own may still be starting."""
    for _ in range(START_S):
        found = await drain(page, method)
        if any(tool["name"].endswith(name) for tool in found["tools"]):
            break
        await asyncio.sleep(1)
    return found


async def step(client, one):
    """Sends one request; `client` is what a script makes of its SDK: page, read, prompt, call."""
    method, params = one["method"], one["params"]
    if method == "tools/list":
        return await patient(client.page, method, one["until"])
    if method in MEMBERS:
        return await drain(client.page, method)
    if method == "resources/read":
        return dump(await client.read(params["uri"]))
    if method == "prompts/get":
        return dump(await client.prompt(params["name"], params["arguments"]))
    heard = []

    async def hear(progress, total, message):
        heard.append([progress, total])

    if not one.get("progress"):
        return dump(await client.call(params["name"], params["arguments"], None))
    result = dump(await client.call(params["name"], params["arguments"], hear))
    return {**result, "progress": heard}


async def steps(client, run, refusal):
    """The results of all steps; `refusal` is what the SDK raises where a server answers an error."""
    results = []
    for one in run["steps"]:
        try:
            results.append(await step(client, one))
        except refusal as error:
            results.append({"error": str(error)})
    return results


async def runs(perform):
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    for run in plan["runs"]:
        try:
            line = await asyncio.wait_for(perform(run), RUN_S)
        except BaseException as error:
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            line = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps({"id": run["id"], **line}), flush=True)


def main(perform):
    asyncio.run(runs(perform))
