"""The table of CUDA kernels out of onnxruntime's own list."""

import pytest

from rankd.training.export.cuda_kernels import TABLE
from tools.cuda_kernels import Kernel, Schema, listed_rows, rows

OPEN = 2**31 - 1
ONE = (("A", "T"), ("B", "T")), (("C", "T"),)


def kernel(operator, first, last, domain="ai.onnx", **types):
    return Kernel(domain, operator, first, last, {n: [f"tensor({k})" for k in kinds] for n, kinds in types.items()})


def fields(kernels, schemas):
    return [tuple(row.split("\t")) for row in rows(kernels, schemas)]


def test_rows_are_of_late_opsets_and_of_encoders():
    """Old opsets, other domains and other operators are left out; the latest versions stand first."""
    schemas = {("ai.onnx", "Add"): [Schema(since, *ONE) for since in (1, 7, 13, 14)]}
    kernels = [
        kernel("Add", 7, 12, T=["float"]),
        kernel("Add", 13, 13, T=["float"]),
        kernel("Add", 14, OPEN, T=["float"]),
        kernel("Add", 14, OPEN, T=["float16"]),
        kernel("EyeLike", 9, OPEN, T=["float"]),
        kernel("Conv", 22, OPEN, "com.ms.internal.nhwc", T=["float"]),
    ]
    assert fields(kernels, schemas) == [
        ("ai.onnx", "Add", "14+", "T T > T", "T=float,float16"),
        ("ai.onnx", "Add", "13", "T T > T", "T=float"),
    ]


def test_kernels_are_joined_only_where_what_fits_stays_the_same():
    """All of two types by two others are one row; pairs of types are a row each, in whatever order they are listed."""
    own = (("d", "T1"), ("i", "Tind")), (("o", "T2"),)
    schemas = {("com.microsoft", "Gather"): [Schema(1, *own)], ("com.microsoft", "Mul"): [Schema(1, *own)]}
    all_of_them = [
        kernel("Gather", 1, OPEN, "com.microsoft", T1=[a], Tind=[i])
        for i in ("int64", "int32")
        for a in ("int4", "int8")
    ]
    pairs = [kernel("Mul", 1, OPEN, "com.microsoft", T1=[k], Tind=[k]) for k in ("float16", "float")]
    assert fields(pairs + all_of_them, schemas) == [
        ("com.microsoft", "Gather", "1+", "T1 Tind > T2", "T1=int4,int8 Tind=int32,int64"),
        ("com.microsoft", "Mul", "1+", "T1 Tind > T2", "T1=float Tind=float"),
        ("com.microsoft", "Mul", "1+", "T1 Tind > T2", "T1=float16 Tind=float16"),
    ]


def test_parameters_are_those_of_the_declarations_in_the_kernels_versions():
    """Two where they differ; an open-ended kernel has the one it begins with; a restricted parameter keeps its name."""
    with_shape = (("data", "T"), ("shape", "tensor(int64)")), (("y", "T"),)
    schemas = {
        ("ai.onnx", "Reshape"): [Schema(1, *ONE), Schema(13, *with_shape), Schema(19, *with_shape)],
        ("ai.onnx", "Split"): [Schema(2, (("x", "T"),), ONE[1]), Schema(13, *with_shape), Schema(18, *ONE)],
    }
    kernels = [
        kernel("Reshape", 13, OPEN, T=["float"], shape=["int64"]),
        kernel("Split", 2, 13, T=["float"]),
        kernel("Split", 13, OPEN, T=["float"]),
        kernel("Split", 16, OPEN, T=["float"]),  # of no declaration: it takes no node
    ]
    assert fields(kernels, schemas) == [
        ("ai.onnx", "Reshape", "13+", "T shape > T", "T=float shape=int64"),
        ("ai.onnx", "Split", "13+", "T int64 > T", "T=float"),
        ("ai.onnx", "Split", "2-13", "T int64 > T or T > T", "T=float"),
    ]


def test_the_table_is_what_the_installed_onnxruntime_lists():
    """Its head names the version; where another one is installed, there is nothing to compare with."""
    head, *lines = TABLE.read_text().splitlines()
    try:
        version, listed = listed_rows()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    if f"onnxruntime-gpu {version}," not in head:
        pytest.skip(f"{head} onnxruntime {version} is installed")
    assert [line for line in lines if not line.startswith("#")] == listed


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    """Without a compiler nothing can stand in for CUDA's libraries."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"install onnxruntime-gpu, on Linux|cc and readelf not found: install"):
        listed_rows()
