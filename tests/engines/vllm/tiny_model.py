"""A tiny Llama with random weights and a tokenizer of its own, as files: there is no model to download.

Its answers make no sense; how long they get is set per request (`ignore_eos` and `max_tokens`).
"""

import json
import os
from pathlib import Path

ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_VOCABULARY = 1024
_TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def prepare_environment():
    """What vLLM needs to find in its environment before it is imported."""
    os.environ.update(ENVIRONMENT)


def make_model(folder, *, hidden=128, layers=2, longest=4096):
    """Write config and tokenizer; gives the folder as a string. Bigger is slower: 512 x 8 takes 12 ms a step."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": _VOCABULARY,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "num_key_value_heads": hidden // 64,
        "head_dim": 64,
        "max_position_embeddings": longest,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    _tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": "<s>",
                "eos_token": "</s>",
                "unk_token": "<unk>",
                "chat_template": _TEMPLATE,
                "model_max_length": longest,
            }
        )
    )
    return str(folder)


def _tokenizer():
    """Bytes and what is frequent in a few sentences, so that every text comes back from its tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from engines.vllm.prompts import made_up

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([row["prompt"] for row in made_up(500, seed=1)], trainer)
    return tokenizer
