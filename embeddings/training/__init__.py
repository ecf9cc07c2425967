"""How our own weights were made, runnable again.

    pairs     labelled pairs: reading them, splitting them by group
    edits     changes of a question that keep or change its answer, made by rule
    recipe    which files, which share of them, and how negatives are made
    model     the cross-encoder in torch (the only importer of torch beside `train`)
    train     python -m embeddings.training.train DATA_DIR OUT_DIR: recipe, training, measuring, export
    shipping  torch-free export of the trained weights, with manifest and hashes
    metrics   found at a given share accepted

Nothing here is imported by a running proxy.
"""
