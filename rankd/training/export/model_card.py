"""The model card: a ranker's README.md, made from what its manifest says, so that the two cannot disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rankd.errors import ConfigError
from rankd.registry.artifact_files import CUDA_MODEL, MODEL, TOKENIZER

_PRECISIONS = {
    "fp32": "32-bit floats",
    "fp16": "16-bit floats, for CUDA",
    "int8": "8-bit integers, for CPUs",
}

FEATURES_LINE = (
    "- **Also gives** what it sees in a prompt, as numbers (the output `features`): a daemon learns its own traffic "
    "from them. They change no score."
)
_MEASURED = (
    "Tau-b on prompts that it never saw (`measured_tau`): **{tau}**. 1 is a perfect order, 0 is chance; two answers "
    "of one model to the same prompt agree at about .63 to .69."
)
_HELD_BACK = "It comes from prompts held back from the training data: expect less on other traffic."
_SEVERAL = "Of several models: the median (and range). Where it was trained on a data set, the figure says little."
_LANGUAGES = (
    "Of a language without a figure above nothing is known; expect little where the tokenizer knows few of its words."
)
_LIMITS = (
    (
        "**Other models.** The order is learned from the models that answered the training prompts; another model's "
        "answers are ordered worse. `rankd evaluate` says how well yours are."
    ),
    (
        "**Cut answers.** Answers that ended at a token limit count as at least that long: nothing is known of the "
        "order beyond the limits in the data."
    ),
    (
        "**Not tried** on images, audio, tool calls, a deployment's own system prompts, sampling settings other than "
        "those in the data, or prompts written to mislead it."
    ),
)
_BATCHES = "**Batches.** Eight-bit ranges come from the batch: a score depends slightly on what is scored with it."


def write_card(fields: Mapping[str, Any], measurements: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the card; the same bytes for the same arguments and model.

    Args:
        fields: the manifest's fields. Beside them the card takes, where given: ``base`` and ``loss`` (text), ``limits``
            (sentences), ``languages`` (data set → language), ``speed`` (``prompts_per_second``, ``threads``,
            ``machine``), ``tau_lost`` and ``largest_difference`` (of the export, against PyTorch), ``cuda_tau_lost``
            (of the graph for CUDA), ``ranges_by_batch`` (whether int8 takes them from the batch), ``reproduce`` (a
            command).
        measurements: as ``rankd.registry.manifest.Measurement`` has them.
        path: ``README.md`` in the ranker's directory; the sizes of the files beside it are stated.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.write_text(card(fields, measurements, _sizes(path.parent)), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def card(fields: Mapping[str, Any], measurements: Sequence[Mapping[str, Any]], sizes: Mapping[str, int]) -> str:
    """The card's Markdown; ``sizes`` in bytes, by file."""
    sections = (
        _what(fields, sizes),
        _data(fields),
        _worth(fields, measurements),
        _calibration(fields),
        _limits(fields, measurements),
        _making(fields),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _sizes(directory: Path) -> dict[str, int]:
    names = (MODEL, CUDA_MODEL, TOKENIZER)
    return {name: (directory / name).stat().st_size for name in names if (directory / name).is_file()}


def _what(fields: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    cut = fields["truncation"]
    grown = f", trained from {_line(fields['base'])}" if fields.get("base") else ""
    loss = f" with the {_line(fields['loss'])} loss" if fields.get("loss") else ""
    what = (
        f"A ranker for rankd: it reads a prompt and gives one number{grown}{loss}. Prompts with higher scores are "
        "expected to get longer answers. A score has no unit and compares within this version only."
    )
    lines = [
        f"# {_line(fields['name'])} {_line(fields['version'])}",
        "",
        what,
        "",
        f"- **Reads** {_reads(cut)}.",
        *([f"- **Calculates** in {_PRECISIONS[fields['precision']]}."] if fields.get("precision") else []),
        *([cuda_line(fields["cuda"]["precision"])] if fields.get("cuda") else []),
        *([FEATURES_LINE] if fields.get("features_output") else []),
        *([_size_line(sizes)] if sizes else []),
        *([f"- **Speed** {_speed(fields['speed'])}."] if fields.get("speed") else []),
        f"- **Licence of the weights** {_line(fields['licence'])}.",
    ]
    if fields.get("description"):
        lines += ["", str(fields["description"]).strip()]
    return "\n".join(lines)


def cuda_line(precision: str) -> str:
    """What a card says of the graph for CUDA."""
    return f"- **On CUDA** runs `{CUDA_MODEL}`, the same ranker in {precision.removeprefix('fp')}-bit floats."


def _reads(cut: Mapping[str, int]) -> str:
    head, tail, most = cut["head_tokens"], cut["tail_tokens"], cut["max_tokens"]
    if not tail:
        return f"the first {most:,} tokens of a prompt"
    return f"up to {most:,} tokens of a prompt, of longer ones the first {head:,} and the last {tail:,}"


def size_line(directory: Path) -> str:
    """What a card says of the sizes of a directory's files."""
    return _size_line(_sizes(directory))


def _size_line(sizes: Mapping[str, int]) -> str:
    return "- **Size** " + ", ".join(f"{size / 1e6:.1f} MB `{name}`" for name, size in sizes.items()) + "."


def _speed(speed: Mapping[str, Any]) -> str:
    threads = speed.get("threads", 1)
    where = f" of {_line(speed['machine'])}" if speed.get("machine") else ""
    return (
        f"{speed['prompts_per_second']:,.0f} prompts/s on {threads} thread{'' if threads == 1 else 's'}{where}, "
        "tokenising included"
    )


def _data(fields: Mapping[str, Any]) -> str:
    data = fields.get("data") or ()
    if not data:
        return "## Data\n\nNot stated."
    rows = [
        f"| {_cell(d['name'])} | {_cell(d['licence'])} | {'' if d.get('rows') is None else format(d['rows'], ',')} |"
        for d in data
    ]
    return "\n".join(["## Data", "", "| trained on | licence | rows |", "|---|---|---|", *rows])


def _worth(fields: Mapping[str, Any], measurements: Sequence[Mapping[str, Any]]) -> str:
    tau = fields.get("measured_tau")
    stated = "not measured" if tau is None else f"{tau:.3f}"
    lines = ["## Figures", "", _MEASURED.format(tau=stated)]
    if measurements:
        head = "| data set | trained on | models | rows | tau-b | realised gain |"
        lines += ["", head, "|---|---|---|---|---|---|", *_measured(measurements), "", _SEVERAL]
    elif tau is not None:
        lines += ["", _HELD_BACK]
    return "\n".join(lines)


def _measured(measurements: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row per data set, the unseen ones first."""
    sets: dict[tuple[bool, str], list[Mapping[str, Any]]] = {}
    for m in measurements:
        sets.setdefault((bool(m.get("trained_on")), m["dataset"]), []).append(m)
    rows = []
    for (trained_on, dataset), measured in sorted(sets.items()):
        models = _cell(measured[0]["model"]) if len(measured) == 1 else f"{len(measured)}"
        gains = [m["realised_gain"] for m in measured if m.get("realised_gain") is not None]
        count = f"{sum(m['rows'] for m in measured):,}"
        taus = _middle([m["kendall_tau"] for m in measured], 3)
        cells = (_cell(dataset), "yes" if trained_on else "no", models, count, taus, _middle(gains, 2))
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _middle(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _calibration(fields: Mapping[str, Any]) -> str:
    spec = fields.get("calibration")
    if not spec:
        return "## Calibration\n\nNone: expected lengths are learned from completions."
    knots = spec["knots"]
    first, last = knots[0]["expected"], knots[-1]["expected"]
    source = f", learned on {_line(spec['source'])}" if spec.get("source") else ""
    return (
        f"## Calibration\n\nA map from score to tokens in {len(knots)} knots{source}: "
        f"{first:,.0f} to {last:,.0f} expected tokens, "
        f"{spec['mean_expected']:,.0f} where nothing is known. It is a prior: lengths differ by model, "
        "often by a factor of two, and the daemon corrects it from completions. The order does not depend on it."
    )


def _limits(fields: Mapping[str, Any], measurements: Sequence[Mapping[str, Any]]) -> str:
    cut = fields["truncation"]
    languages: Mapping[str, str] = fields.get("languages") or {}
    tried = sorted({languages[m["dataset"]] for m in measurements if m["dataset"] in languages})
    measured = f"Measured on prompts in {', '.join(tried)}. " if tried else ""
    unread = f"What comes after {cut['max_tokens']:,} tokens"
    if cut["tail_tokens"]:
        unread = f"What lies between the first {cut['head_tokens']:,} and the last {cut['tail_tokens']:,} tokens"
    limits = [
        f"**Languages.** {measured}{_LANGUAGES}",
        f"**Long prompts.** {unread} is not read.",
        *_LIMITS,
        *([_BATCHES] if fields.get("ranges_by_batch") else []),
        *(_line(text) for text in fields.get("limits") or ()),
    ]
    return "\n".join(["## Limits", "", *(f"- {text}" for text in limits)])


def _making(fields: Mapping[str, Any]) -> str:
    lines = ["## Made and checked", ""]
    if fields.get("reproduce"):
        lines += [f"The same bytes come from `{_line(fields['reproduce'])}`.", ""]
    if fields.get("tau_lost") is not None:
        away = fields.get("largest_difference")
        far = "" if away is None else f"; no score is more than {away:.2g} away from PyTorch's"
        lines += [f"The export costs {fields['tau_lost']:+.4f} tau against PyTorch{far}.", ""]
    if fields.get("cuda_tau_lost") is not None:
        lines += [cuda_loss_line(fields["cuda_tau_lost"]), ""]
    lines += [
        "Judge it on your own traffic, and replace it by one trained on your own log:",
        "",
        "```sh",
        "rankd evaluate --ranker DIR --data LOG",
        "rankd train --data LOG --out NEW",
        "rankd promote NEW",
        "```",
    ]
    return "\n".join(lines)


def cuda_loss_line(tau_lost: float) -> str:
    """What a card says of the order that the graph for CUDA loses."""
    return f"The graph for CUDA costs {tau_lost:+.4f} tau against PyTorch, as a CPU calculates it."


def _line(text: Any) -> str:
    """Text on one line."""
    return " ".join(str(text).split())


def _cell(text: Any) -> str:
    """Text in a cell of a table."""
    return _line(text).replace("|", "\\|")
