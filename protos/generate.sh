#!/bin/sh
# Writes the Python stubs into the client package. `rankd.v1` is imported as `rankd_client.v1`: a plain `rankd/v1`
# would collide with the daemon's own package.
# usage: generate.sh PYTHON OUT   (PYTHON has grpcio-tools 1.74, the oldest that works: its stubs then load with every
# newer grpcio and protobuf)
set -eu
python=$1 out=$2
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"$python" -m grpc_tools.protoc -I. --python_out="$tmp" --pyi_out="$tmp" --grpc_python_out="$tmp" rankd/v1/*.proto
mkdir -p "$out"
rm -f "$out"/*_pb2*.py "$out"/*_pb2*.pyi
for file in "$tmp"/rankd/v1/*; do
  case $file in *_grpc.py) grep -q '^class' "$file" || continue ;; esac  # no service in it
  sed -e 's/^from rankd\.v1 import/from rankd_client.v1 import/' "$file" > "$out/$(basename "$file")"
done
echo '"""Generated from protos/rankd/v1 by `make protos`; do not edit."""' > "$out/__init__.py"
