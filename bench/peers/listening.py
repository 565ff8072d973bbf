"""Serves an application over HTTP, the same way for every Python peer."""

import uvicorn


def listen(app, port: int) -> None:
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        log_level="error",
        access_log=False,
        timeout_keep_alive=300,
    )
