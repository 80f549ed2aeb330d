"""A server of an OpenAI-compatible interface that does what a test tells it to."""

import contextlib
import dataclasses
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

Answer = tuple[int, Any]


def completion(text: str, *, finish_reason: str | None = "stop", **message: Any) -> dict[str, Any]:
    """Return the body of a chat completion of 5 tokens."""
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    }


@dataclasses.dataclass
class Script:
    """How the server answers below ``/v1``, where alone it does.

    ``reply(body, number)`` returns status and JSON, or bytes, for the number-th chat request.
    """

    reply: Callable[[dict[str, Any], int], Answer]
    models: Answer = (200, {"object": "list", "data": [{"id": "m", "object": "model", "created": 0, "owned_by": "x"}]})
    # Where those are sent on to who ask for the models.
    location: str = ""
    asked: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    url: str = ""


@contextlib.contextmanager
def serving(reply: Callable[[dict[str, Any], int], Answer]) -> Iterator[Script]:
    """Serve on a port of this machine while the block lasts; ``asked`` collects the bodies of the chat requests."""
    script, lock = Script(reply), threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(*(script.models if "/v1/" in self.path else (404, {"detail": "Not Found"})))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                script.asked.append(body)
                number = len(script.asked)
            self._send(*(script.reply(body, number) if "/v1/" in self.path else (404, {"detail": "Not Found"})))

        def _send(self, status: int, table: Any) -> None:
            content = table if isinstance(table, bytes) else json.dumps(table).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if script.location and self.command == "GET":
                self.send_header("Location", script.location)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has there
            del format, args

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
