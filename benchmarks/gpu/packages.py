"""Which packages this Python has, and which of those that are needed it lacks. Needs none itself."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version

_NEEDED = {
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime-gpu",
    "tokenizers": "tokenizers",
    "pydantic": "pydantic",
    "pydantic_settings": "pydantic-settings",
    "structlog": "structlog",
    "rich": "rich",
    "grpc": "grpcio",
    "google.protobuf": "protobuf",
    "rankd_client": "clients/python on PYTHONPATH, or rankd-client",
}
"""Packages of every part, by the name that is imported."""
_OF_THE_DAEMON = {
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "google.rpc": "googleapis-common-protos",
    "cryptography": "cryptography",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.exporter.otlp.proto.grpc": "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry.exporter.prometheus": "opentelemetry-exporter-prometheus",
    "prometheus_client": "prometheus-client",
    "h11": "h11",
}
_SHOWN = (
    "onnxruntime-gpu", "onnxruntime", "torch", "tensorrt", "onnx", "numpy", "tokenizers", "grpcio", "protobuf",
    "nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-cuda-runtime",
)  # fmt: skip


def missing(parts: set[str]) -> list[str]:
    """What to install for these parts, as pip calls it; empty where nothing is missing."""
    wanted = {**_NEEDED, **(_OF_THE_DAEMON if "daemon" in parts else {})}
    return [package for module, package in wanted.items() if not _there(module)]


def versions() -> dict[str, str]:
    """Versions of what figures depend on; what is not installed is left out."""
    found = {"python": sys.version.split()[0]}
    for package in _SHOWN:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False
