"""Requests to an ASGI application, without a server."""

import asyncio
from concurrent.futures import ThreadPoolExecutor


def finished(work):
    """What a coroutine returns, in a loop of its own: Playwright's runs in the tests' thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


class Asked:
    """An application, and requests to it."""

    def __init__(self, app):
        self.app = app

    def __call__(self, method, path, chunks=(b"",), server="127.0.0.1", query=b"", **headers):
        """Status and text of the answer; `headers` with `_` for `-`, None for without it."""
        headers = {"host": "127.0.0.1:7860", **headers}
        named = [
            (k.replace("_", "-").encode(), v.encode()) for k, v in headers.items() if v is not None
        ]
        scope = {
            **{"type": "http", "method": method, "path": path, "headers": named},
            **{"query_string": query, "server": (server, 7860), "scheme": "http"},
            "asgi": {"version": "3.0"},
        }
        messages = [
            {"type": "http.request", "body": chunk, "more_body": n < len(chunks)}
            for n, chunk in enumerate(chunks, 1)
        ]
        sent = []

        async def receive():
            if not messages:
                await asyncio.sleep(3600)  # nobody leaves
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        finished(self.app(scope, receive, send))
        self.unread = len(messages)
        self.named = [name.decode().lower() for name, _ in sent[0]["headers"]]
        self.headers = {k.decode().lower(): v.decode() for k, v in sent[0]["headers"]}
        self.body = b"".join(one.get("body", b"") for one in sent[1:])
        return sent[0]["status"], self.body.decode(errors="replace")
