"""A worker for Deja's task queues: claims tasks, keeps their leases alive, reports what became of them. For users to import.

    from proxy.worker import Fatal, Retry, Task, Worker

    worker = Worker("http://127.0.0.1:8080", "sk-…", queue="mails", name="mails-1")

    @worker.task
    def send(task: Task) -> dict[str, str]:
        return {"sent_to": task.payload["to"]}

    worker.run()  # until SIGTERM; then what is held is finished

It imports nothing else of Deja's: a project that has httpx may copy `proxy/worker/`, path and all. A handler may be a function, which runs
in a thread of the pool, or a coroutine function, which runs on one loop that all share. What goes over HTTP is told in
docs/guide/tasks.md.

A task may be done twice (a worker dies after the deed and before it could say so), but is completed once: let what a handler does elsewhere
carry an idempotency key made of `task.id`.
"""

from proxy.worker.tasks import Fatal, Retry, Task
from proxy.worker.wire import WorkerError
from proxy.worker.worker import Worker

__all__ = ["Fatal", "Retry", "Task", "Worker", "WorkerError"]
