"""What pages are made of: a document, a headline, tiles, cards, keys of pictures, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from rankd.errors import ConfigError

NONE = "\N{EN DASH}"
NBSP = "\N{NO-BREAK SPACE}"

_KEYS = {
    "ranker": '<line class="line-ranker" x1="1" x2="21" y1="6" y2="6"/>',
    "oracle": '<line class="line-oracle" x1="1" x2="21" y1="6" y2="6"/>',
    "chance": '<line class="line-chance" x1="1" x2="21" y1="6" y2="6"/>',
    "half": '<rect class="fill-ranker" width="22" height="12"/><rect class="fill-ranker" width="22" height="12"/>',
    "most": '<rect class="fill-ranker" width="22" height="12"/>',
    "dot": '<line class="whisker" x1="1" x2="21" y1="6" y2="6"/><circle class="dot-ranker" cx="11" cy="6" r="4.5"/>',
    "bin": '<circle class="dot-ranker" cx="11" cy="6" r="4.5"/>',
    "other": '<circle class="dot-oracle" cx="11" cy="6" r="4.5"/>',
    "worse": '<circle class="dot-ranker hollow" cx="11" cy="6" r="4.5"/>',
    "ceiling": '<line class="mark-ceiling" x1="11" x2="11" y1="1" y2="11"/>',
}


def write_html(text: str, path: Path) -> None:
    """Write a page; directories are made.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--html {path} cannot be written: {error.strerror}; name another file") from None


def document(title: str, head: str, tiles: str, cards: Iterable[str]) -> str:
    """A page that needs nothing from elsewhere, and may load nothing."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>"
        f"<title>{escape(title)}</title><style>{resource('rankd.html', 'page.css')}</style></head>"
        f'<body><main>{head}{tiles}<div class="cards">{"".join(cards)}</div></main></body></html>\n'
    )


def headline(over: str, title: str, lead: str) -> str:
    """What stands on top: ``lead`` is markup, the rest is text."""
    return f'<header><p class="over">{escape(over)}</p><h1>{escape(title)}</h1><p class="lead">{lead}</p></header>'


def tile_row(tiles: Iterable[tuple[str, str, str]]) -> str:
    """Tiles of (what it is, figure, more of it), all markup."""
    cells = "".join(
        f'<div class="tile"><span class="what">{what}</span><span class="figure">{figure}</span>'
        f'<span class="more">{more}</span></div>'
        for what, figure, more in tiles
    )
    return f'<section class="tiles">{cells}</section>'


def card(title: str, body: str, note: str, *, wide: bool = False) -> str:
    """One card; title, body and note are markup."""
    return f'<section class="card{" wide" if wide else ""}"><h2>{title}</h2>{body}<p class="note">{note}</p></section>'


def keys(*named: tuple[str, str]) -> str:
    """What the lines of a picture are: (kind, text)."""
    items = "".join(f'<li><svg viewBox="0 0 22 12">{_KEYS[kind]}</svg>{text}</li>' for kind, text in named)
    return f'<ul class="keys">{items}</ul>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls where it is too wide; cells are markup, no columns are no headings."""
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "".join(f"<tr><th>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>" for row in rows)
    heads = f"<thead><tr>{head}</tr></thead>" if columns else ""
    return f'<div class="scroll"><table>{heads}<tbody>{body}</tbody></table></div>'


def count(number: int, what: str) -> str:
    """A number of things."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def percent(share: float) -> str:
    """A share in per cent."""
    return f"{100 * share:z.0f}{NBSP}%"


def resource(package: str, name: str) -> str:
    """A text that lies beside the code."""
    return files(package).joinpath(name).read_text(encoding="utf-8")
