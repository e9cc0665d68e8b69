"""Write the glosses of Chinese characters anew: ``python -m tools.chinese_glosses Unihan_Readings.txt``.

The file is of the Unicode Character Database. Bundled rankers were made with the glosses that are there.
"""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

from rankd.training.bases.chinese_glosses import common_characters, glosses_file

MOST_SENSES = 3
"""Of a character, the first ones: they are sorted by how common they are."""
_LINE = re.compile(r"U\+([0-9A-F]+)\tkDefinition\t(.+)")


def shortened(definition: str) -> list[str]:
    """The first senses of a Unihan definition, without what stands in brackets or is not English."""
    plain = re.sub(r"\([^)]*\)|[^ -~]", "", definition)
    senses = [" ".join(part.split()) for part in re.split("[;,]", plain)]
    return [s for s in senses if s][:MOST_SENSES]


def main() -> int:
    """Write the file from Unihan's own."""
    wanted = set(common_characters())
    lines = ["# Shortened from kDefinition in Unihan_Readings.txt of the Unicode Character Database; see LICENSE."]
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        found = _LINE.fullmatch(line)
        if found and chr(int(found[1], 16)) in wanted and shortened(found[2]):
            lines.append(f"{chr(int(found[1], 16))}\t{';'.join(shortened(found[2]))}")
    out = glosses_file()
    out.write_bytes(gzip.compress("\n".join(lines).encode("utf-8"), mtime=0))
    print(f"{out}: {len(lines) - 1:,} of {len(wanted):,} characters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
