"""The encoder in a plain loop of transformers: run by the peers' Python, asked through lines of JSON.

A line in: ``{"prompts": [...], "batch": 32, "threads": 1}``. A line out: ``{"vectors": [[...]]}``, mean-pooled and of
length 1; or with ``"quiet": true`` ``{"count": n, "finite": true}``, since nobody else pays for writing numbers either.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from benchmarks.peers.export_onnx import weights_folder


def main() -> None:
    """Load the encoder in the precision that was asked for, say so, and answer until the input ends."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    folder = weights_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=getattr(torch, sys.argv[1])).eval()

    def read(prompts: list[str]) -> torch.Tensor:
        encoded = tokenizer(prompts, padding=True, truncation=True, return_tensors="pt")
        states = model(**encoded).last_hidden_state
        mask = encoded["attention_mask"].unsqueeze(-1).to(states.dtype)
        pooled = (states * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(pooled.float(), dim=1)

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        torch.set_num_threads(asked["threads"])
        # By characters: tokenising comes batch by batch, as in the pipelines of transformers.
        prompts, size = asked["prompts"], asked["batch"]
        order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]))
        parts = [read([prompts[n] for n in order[i : i + size]]) for i in range(0, len(order), size)]
        vectors = torch.empty(len(prompts), parts[0].shape[1])
        vectors[order] = torch.cat(parts)
        if asked.get("quiet"):
            return {"count": len(vectors), "finite": bool(torch.isfinite(vectors).all())}
        return {"vectors": vectors.tolist()}

    print(json.dumps({"ready": True}), flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
