"""Bases that cannot work are refused by name, with the figure and the remedy, before a row is read."""

import json
import shutil

import pytest

torch = pytest.importorskip("torch", reason="needs rankd[train]")

from safetensors.torch import load_file, save_file  # noqa: E402
from support.tiny_encoder import WORDS, make_base, make_rows  # noqa: E402
from support.tiny_families import change_config, make_family  # noqa: E402
from support.tiny_fit import CUT, OPTIONS  # noqa: E402

from rankd.cli import main  # noqa: E402
from rankd.errors import ConfigError  # noqa: E402
from rankd.scoring.tokeniser import Truncation  # noqa: E402
from rankd.training.bases.load import load_base  # noqa: E402
from rankd.training.export.export import ExportPlan, export  # noqa: E402
from rankd.training.export.rehearsal import check_exportable  # noqa: E402
from rankd.training.fit.fit import fit  # noqa: E402


def load(path, tokens=64):
    return load_base(str(path), Truncation(tokens, tokens // 2, tokens - tokens // 2))


@pytest.mark.parametrize(
    ("family", "taken"),
    [
        ("roberta", 62), ("xlm-roberta", 62), ("camembert", 62), ("mpnet", 62), ("data2vec-text", 62), ("esm", 62),
        ("longformer", 62), ("albert", 64), ("distilbert", 64), ("gpt2", 64), ("llama", 64),
    ],
)  # fmt: skip
def test_a_model_takes_as_many_tokens_as_it_has_positions_for(tmp_path, family, taken):
    """Those of RoBERTa's kind begin behind the padding's index: 514 are 512."""
    base = make_family(tmp_path / family, family, positions=64)
    assert load(base, taken).truncation.max_tokens == taken
    for asked in (taken + 1, 128):
        with pytest.raises(
            ConfigError, match=rf"--max-tokens {asked}: --base {family} .*give --max-tokens {taken} or less"
        ):
            load(base, asked)


@pytest.mark.parametrize("family", ["deberta-v2", "bloom"])
def test_relative_positions_have_no_end(tmp_path, family):
    """What a configuration says of positions is no limit there."""
    assert load(make_family(tmp_path / family, family), 300).truncation.max_tokens == 300


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("t5", "t5 is an encoder-decoder"),
        ("t5-encoder", "t5 is an encoder-decoder, or one half of one"),
        ("bart", "bart is an encoder-decoder"),
        ("bart-decoder", "bart is an encoder-decoder, or one half of one"),
        ("vit", r"vit does not read text alone \(image_size\)"),
        ("squeezebert", "squeezebert cannot read a prompt of 64 tokens"),
    ],
)
def test_families_that_cannot_be_bases(tmp_path, family, message):
    with pytest.raises(ConfigError, match=rf"^--base {family}: {message}.*give an"):
        load(make_family(tmp_path / family, family))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"quantised \(gptq\).*made of"),
        ({"quantization_config": {"quant_method": "awq"}}, r"quantised \(awq\)"),
        ({"model_type": "homemade", "auto_map": {"AutoModel": "modeling.Homemade"}}, "homemade needs Python code"),
        ({"model_type": "homemade"}, "is of no known model"),
        ({"vision_config": {}, "text_config": {}}, r"does not read text alone \(vision_config\)"),
        ({"audio_config": {}}, r"does not read text alone \(audio_config\)"),
        ({"vocab_size": 20}, r"ids for 36 tokens, the model vectors for 20"),
        ({"is_encoder_decoder": True}, "is an encoder-decoder"),
        ({"hidden_size": "wide"}, "config.json is of no known model"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_configurations_that_tell_it(tmp_path, fields, message):
    base = change_config(make_base(tmp_path / "odd"), **fields)
    with pytest.raises(ConfigError, match=f"--base odd: .*{message}"):
        load(base)


def test_ids_with_gaps_and_added_tokens_need_vectors_too(tmp_path):
    """The largest id counts, not how many there are."""
    base = make_base(tmp_path / "odd")
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["w29"] = len(WORDS) + 5
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ConfigError, match=rf"ids for {len(WORDS) + 6} tokens, the model vectors for {len(WORDS)}"):
        load(base)


def test_what_else_may_lie_in_a_directory(tmp_path):
    """Slow tokenizers, pickles, shards that are missing, adapters, and a model one level down."""
    good = make_base(tmp_path / "good")

    def but(name, **files):
        path = tmp_path / name
        shutil.copytree(good, path)
        for file, content in files.items():
            there = path / file.replace("__", ".")
            there.unlink() if content is None else there.write_bytes(content)
        return path

    index = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}).encode()
    for path, message in (
        (
            but("slow", tokenizer__json=None, vocab__txt=b"a"),
            r"tokenizer.json is missing; there is a slow one \(vocab.txt\)",
        ),
        (but("noise", tokenizer__json=b"{"), "tokenizer.json cannot be read"),
        (
            but("pickle", model__safetensors=None, pytorch_model__bin=b"x"),
            r"no \*.safetensors .*pytorch_model.bin is not",
        ),
        (but("gguf", model__safetensors=None, model__gguf=b"x"), r"no \*.safetensors .*model.gguf is not"),
        (
            but("parts", model__safetensors__index__json=index),
            "1 files of its weights are missing, as model-00001",
        ),
        (but("adapter", adapter_config__json=b"{}"), "adapter, not a whole model"),
        (but("broken", config__json=b"[1]"), "config.json is no JSON object"),
        (but("cut", config__json=b'{"model_type": '), "config.json cannot be read"),
    ):
        with pytest.raises(ConfigError, match=f"--base {path.name}[ :].*{message}"):
            load(path)
    (tmp_path / "outer").mkdir()
    shutil.copytree(good, tmp_path / "outer" / "0_Transformer")
    with pytest.raises(ConfigError, match=r"config.json is missing; give .*0_Transformer"):
        load(tmp_path / "outer")


@pytest.mark.parametrize("what", ["names of another model", "no file of tensors", "rows that are missing"])
def test_weights_of_another_model_are_no_base(tmp_path, what):
    """They would start at random, or not at all."""
    base = make_base(tmp_path / "odd")
    file = base / "model.safetensors"
    tensors = load_file(file)
    if what == "no file of tensors":
        file.write_bytes(b"\xff" * 100)
    elif what == "names of another model":
        save_file({f"other.{name}": value for name, value in tensors.items()}, file, {"format": "pt"})
    else:
        words = "embeddings.word_embeddings.weight"
        save_file(tensors | {words: tensors[words][:5].clone()}, file, {"format": "pt"})
    with pytest.raises(ConfigError, match=r"--base odd: (the weights cannot be loaded|the files of its weights lack)"):
        load(base).module(0)


def test_a_base_that_cannot_be_exported_is_refused_before_training(tmp_path, capfd):
    """Not after hours of it, by a small model of its kind; nothing was read or written, and no library says a word."""
    base = make_family(tmp_path / "fnet", "fnet", positions=128)
    done = main(["train", "--data", str(tmp_path / "none.jsonl"), "--base", str(base), "--out", str(tmp_path / "out")])
    assert done != 0
    said = capfd.readouterr()
    assert "--base fnet: fnet cannot be exported as int8" in said.err.replace("\n", " ")
    assert "graph(" not in said.out + said.err


@pytest.mark.parametrize("family", ["roberta", "distilbert", "gpt2"])
def test_other_families_are_bases(tmp_path, family, capfd):
    """Positions behind the padding, no token types, no padding token: they are trained, and exported in int8.

    Libraries say nothing of what they try.
    """
    path = make_family(tmp_path / family, family, positions=66)
    capfd.readouterr()
    base, rows = load(path), make_rows(160)
    check_exportable(base, ["int8"], spread=True)
    fitted = fit(base, rows[:120], rows[120:], OPTIONS)
    plan = ExportPlan(
        name="n", version="1", precision="int8", calibration_rows=rows[120:], data="d", licence="l", most_tau_lost=1.0
    )
    report = export(fitted, tmp_path / "out", plan)
    assert report.rows == 40
    assert fitted.base.truncation == CUT
    assert capfd.readouterr() == ("", "")
