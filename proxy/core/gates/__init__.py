"""Gates: cheap, pure reasons why a stored answer may not serve a question, however close their vectors are.

A gate can only refuse. `read` parses a text once, `refusal` compares two texts or readings. What a gate compares is in
`reading`, how it compares in `compare`, the words it knows in `proxy/core/words`. No similarity is known here.
"""

from proxy.core.gates.compare import refusal
from proxy.core.gates.reading import Reading, read
from proxy.core.gates.reasons import GateReason

__all__ = ["GateReason", "Reading", "read", "refusal"]
