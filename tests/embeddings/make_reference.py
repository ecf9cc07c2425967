"""Makes data/minilm_reference.npz: what a public implementation of all-MiniLM-L6-v2 says about the 200 varied texts.

Run once, in an environment of its own that has torch and transformers (neither is needed anywhere else):

    python -m venv /tmp/reference && /tmp/reference/bin/pip install torch==2.13.0 transformers==5.23.0
    /tmp/reference/bin/python tests/embeddings/make_reference.py .deja/artifacts/sources/all-minilm-l6-v2

Mean pooling over the attention mask, then L2 normalisation, at 256 tokens, as the model's own card tells. Stored as
float16: its rounding moves a cosine by less than 1e-6.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import BertModel, BertTokenizerFast
from varied_texts import varied_texts

MAX_TOKENS = 256


def main(folder: str) -> None:
    tokenizer = BertTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json", vocab_file=None)
    model = BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    texts = varied_texts()
    vectors, tokens = [], []
    for text in texts:
        batch = tokenizer([text], truncation=True, max_length=MAX_TOKENS, padding=False, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).float()
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        vectors.append(torch.nn.functional.normalize(pooled, dim=1)[0].numpy())
        tokens.append(batch["input_ids"].shape[1])
    np.savez_compressed(
        Path(__file__).parent / "data" / "minilm_reference.npz",
        vectors=np.array(vectors, np.float16),
        tokens=np.array(tokens, np.int16),
        texts_sha256=np.array(hashlib.sha256(repr(texts).encode()).hexdigest()),
    )


if __name__ == "__main__":
    main(sys.argv[1])
