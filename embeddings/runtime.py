"""onnxruntime, imported so that it keeps to itself.

From 1.32 on, its Linux builds report their use: an id and a database under the user's cache directory, and a collector in the network.
`disable_telemetry_events()` comes too late, only the environment variable, set before the import, stops it. So nothing else in
Deja imports onnxruntime directly.
"""

from __future__ import annotations

import os
from typing import Any


def onnxruntime() -> Any:
    """The onnxruntime module, its reporting switched off unless the user's own environment says otherwise."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as module

    return module
