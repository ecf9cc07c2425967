"""Gates: cheap, pure reasons why a stored answer may not serve a question, however close their vectors are.

A gate can only refuse. `read` parses a text once; `objections` gives every reason against a pair of texts or readings, `refusal` the
first, `hard_refusal` the first that refuses by itself whatever a model says (`HARD`). What a gate compares is in `reading`, how it
compares in `compare`, the words it knows in `proxy/core/words`. No similarity is known here.
"""

from proxy.core.gates.compare import MERGE_GATES, SURE_MERGE_GATES, hard_refusal, objections, refusal
from proxy.core.gates.reading import Reading, read
from proxy.core.gates.reasons import HARD, GateReason

__all__ = [
    "HARD",
    "MERGE_GATES",
    "SURE_MERGE_GATES",
    "GateReason",
    "Reading",
    "hard_refusal",
    "objections",
    "read",
    "refusal",
]
