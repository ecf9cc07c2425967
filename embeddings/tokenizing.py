"""Tokenizers, opened so that models with one vocabulary hold it once.

The embedder and the verifier are both of BERT's family: their tokenizer files are the same to the byte, and a vocabulary takes 8 MB of a
process. A tokenizer's settings (truncation, what a literal "[SEP]" is) are its own, its vocabulary is only read.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

_KEPT = 4
_read: dict[str, Any] = {}
"""Tokenizers as their files have them, by the files' SHA-256; never handed out, so nobody changes them."""


def open_tokenizer(path: Path) -> Any:
    """Open a `tokenizers.Tokenizer` of the caller's own: no padding, no truncation, whatever the file says of them.

    Raises:
        Exception: the file is missing or garbled; the library's types have no common base but this.
    """
    from tokenizers import Tokenizer

    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 not in _read:
        if len(_read) >= _KEPT:
            _read.clear()
        _read[sha256] = Tokenizer.from_file(str(path))
    whole = _read[sha256]
    own = Tokenizer(whole.model)  # both point at one model
    own.normalizer, own.pre_tokenizer = whole.normalizer, whole.pre_tokenizer
    own.post_processor, own.decoder = whole.post_processor, whole.decoder
    for _, token in sorted(whole.get_added_tokens_decoder().items()):
        (own.add_special_tokens if token.special else own.add_tokens)([token])
    return own
