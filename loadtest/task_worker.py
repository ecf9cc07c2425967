"""A worker to be killed: claims and does tasks with nothing but the standard library, so that it starts in a moment; see `task_chaos`."""

from __future__ import annotations

import argparse
import http.client
import json
import random
import time
import uuid
from pathlib import Path
from typing import Any

LEASE_S = 3.0
"""Short, so that what a killed worker held is soon with another; it renews nothing and needs milliseconds."""


class Line:
    """A connection that is made anew whenever it breaks.

    Args:
        port: of Deja, on this machine.
        key: API key.
    """

    def __init__(self, port: int, key: str) -> None:
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def insist(self, method: str, path: str, body: object = None) -> tuple[int, Any, int]:
        """Send it again until there is an answer that will not change; returns status, answer, and how often it was sent again.

        All that is sent is idempotent: submissions by key, a worker's steps by lease, and a claim nobody received goes back.
        """
        again = 0
        while True:
            try:
                self._connection.request(method, path, None if body is None else json.dumps(body), self._headers)
                answer = self._connection.getresponse()
                told = answer.read()
                if answer.status < 500:
                    return answer.status, json.loads(told), again
            except (OSError, http.client.HTTPException):
                self._connection.close()
            again += 1
            time.sleep(random.uniform(0.02, 0.1))


def work(line: Line, queue: str, name: str, log: Path, *, is_restarted: bool) -> None:
    """Claim and do tasks until killed. Each completion this worker is told of becomes a line in `log` first thing."""
    recover = is_restarted
    with log.open("a", buffering=1) as told:
        while True:
            wanted = {
                "worker": name,
                "count": random.randint(1, 4),
                "wait_s": 2,
                "lease_s": LEASE_S,
                "recover": recover,
            }
            status, answer, _ = line.insist("POST", f"/v1/queues/{queue}/tasks/claim", wanted)
            if status != 200:
                raise SystemExit(f"claim: {answer}")
            recover = False
            for task in answer["data"]:
                time.sleep(random.uniform(0, 0.004))
                path = f"/v1/queues/{queue}/tasks/{task['id']}"
                if task["payload"]["kind"] == "poison":
                    line.insist("POST", f"{path}/fail", {"lease": task["lease"], "error": "poison", "retry_in_s": 0.05})
                    continue
                nonce = uuid.uuid4().hex
                body = {"lease": task["lease"], "result": {"nonce": nonce}}
                if line.insist("POST", f"{path}/complete", body)[0] == 200:
                    told.write(f"{task['id']} {nonce}\n")


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("key")
    parser.add_argument("queue")
    parser.add_argument("name")
    parser.add_argument("log", type=Path)
    parser.add_argument("--restarted", action="store_true")
    given = parser.parse_args()
    work(Line(given.port, given.key), given.queue, given.name, given.log, is_restarted=given.restarted)


if __name__ == "__main__":
    main()
