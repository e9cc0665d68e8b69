"""A newer vLLM on the CPU kernels of the one that is installed, where that version has no build for CPUs yet.

usage: python -m engines.vllm.newer_source VERSION FOLDER

Runs in vLLM's environment. Downloads the wheel of that version, unpacks its Python without its libraries, and links
those of the installed build beside it. FOLDER first on PYTHONPATH is that version: what schedules, serves and counts is
its own code. What it calls of its libraries must not have changed; for 0.33.0 on the kernels of 0.32.0 nothing had that
these runs need. What else it wants is to be installed first: `orjson` for the server of 0.33.0.
"""

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path


def unpacked(version, folder):
    """The Python of a wheel of that version."""
    with tempfile.TemporaryDirectory() as downloaded:
        wanted = ("--no-deps", "--only-binary=:all:", "--dest", downloaded, f"vllm=={version}")
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *wanted], check=True)
        (wheel,) = Path(downloaded).glob("vllm-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if not name.endswith(".so")])


def main(version, folder):
    """All of it."""
    folder = Path(folder).resolve()
    unpacked(version, folder)
    (installed,) = importlib.util.find_spec("vllm").submodule_search_locations
    for library in Path(installed).glob("*.so"):
        (folder / "vllm" / library.name).symlink_to(library)
    # vLLM takes a CPU for its platform where its version says so.
    (metadata,) = folder.glob("vllm-*.dist-info")
    described = metadata / "METADATA"
    described.write_text(described.read_text().replace(f"\nVersion: {version}\n", f"\nVersion: {version}+cpu\n", 1))
    metadata.rename(folder / f"vllm-{version}+cpu.dist-info")


if __name__ == "__main__":
    main(*sys.argv[1:])
