"""Every exception this library raises on purpose, and nothing else.

    EmbedderError
    ├── ModelSourceError          the model's files cannot be had from where the configuration points
    ├── ModelFormatError          the files are there, but are not a model this library can run
    ├── RemoteEmbedderError       an embeddings URL refused, failed, or answered with something else
    ├── EmbedderOverloadedError   too many texts are waiting; nothing was computed
    └── EmbedderClosedError       used after `aclose`

Messages never hold a text that was to be embedded, a credential, or a URL with a password in it.
"""

from __future__ import annotations


class EmbedderError(Exception):
    """The root: a text could not be embedded, or an embedder could not be opened."""


class ModelSourceError(EmbedderError):
    """The model's files cannot be had; the message says from where, why, and what else would do."""


class ModelFormatError(EmbedderError):
    """The model's files are damaged, or of an architecture this library does not run."""


class RemoteEmbedderError(EmbedderError):
    """The embeddings URL could not be reached, refused, or gave an answer that is not embeddings."""


class EmbedderOverloadedError(EmbedderError):
    """So many texts are waiting that another would wait too long; nothing was computed for it."""


class EmbedderClosedError(EmbedderError):
    """The embedder was closed."""
