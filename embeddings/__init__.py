"""Text embedders: a library of its own, which never imports `proxy`.

`base` says what an embedder is; `prepare` gets a model ready and opens it; `batching` serves many callers from one.
"""
