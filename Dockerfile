# syntax=docker/dockerfile:1
# rankd in four images: cpu (the default), cuda, train, proxy. docs/guides/kubernetes.md says how they are built, and what was tried.
#
#   docker build --target cpu   -t rankd:0.1.0-cpu   .
#   docker build --target cuda  -t rankd:0.1.0-cuda  .
#   docker build --target train -t rankd:0.1.0-train .
#   docker build --target proxy -t rankd:0.1.0-proxy .
#
# Pin the base by its digest: --build-arg PYTHON_BASE=python:3.11-slim@sha256:... . Build and final stages must have the
# same Python. The final images have no compiler, run as uid 65532, and write to /tmp only.
ARG PYTHON_BASE=python:3.11-slim-bookworm

# -- what is installed, and into what ----------------------------------------------------------------------------------
FROM ${PYTHON_BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv /opt/rankd && python3 -m venv /opt/build
COPY docker/build-requirements.txt docker/
RUN /opt/build/bin/pip install --requirement docker/build-requirements.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY protos protos
COPY clients/python clients/python
COPY docker/requirements.py docker/
COPY rankd rankd
# Wheels of rankd and its client: their own code only.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels ./clients/python .

# onnxruntime-gpu runs on CPUs too, and is 250 MB: here the CPU build of the same import takes its place.
FROM build AS build-cpu
RUN /opt/build/bin/python docker/requirements.py --onnxruntime cpu --extra log /wheels/rankd-*.whl > /requirements.txt \
    && /opt/rankd/bin/pip install --requirement /requirements.txt \
    && /opt/rankd/bin/pip install --no-deps /wheels/*.whl \
    && /opt/rankd/bin/pip uninstall --yes pip setuptools

# CUDA and cuDNN come from PyPI as onnxruntime-gpu's own extras: no base image with CUDA is needed, only the driver.
FROM build AS build-cuda
RUN /opt/build/bin/python docker/requirements.py --onnxruntime cuda --extra log /wheels/rankd-*.whl > /requirements.txt \
    && /opt/rankd/bin/pip install --requirement /requirements.txt \
    && /opt/rankd/bin/pip install --no-deps /wheels/*.whl \
    && /opt/rankd/bin/pip uninstall --yes pip setuptools

# Training runs on CPUs. TORCH_INDEX names an index of torch's CPU builds; without one PyPI's brings gigabytes of CUDA.
FROM build AS build-train
ARG TORCH="torch>=2.13,<2.15"
ARG TORCH_INDEX=""
RUN /opt/rankd/bin/pip install ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} "${TORCH}" \
    && /opt/build/bin/python docker/requirements.py --onnxruntime cpu --extra train /wheels/rankd-*.whl > /requirements.txt \
    && /opt/rankd/bin/pip install --requirement /requirements.txt \
    && /opt/rankd/bin/pip install --no-deps /wheels/*.whl \
    && /opt/rankd/bin/pip uninstall --yes pip

# The proxy has no model, and so neither a runtime nor the bundled rankers.
FROM build AS build-proxy
RUN /opt/build/bin/python docker/requirements.py --onnxruntime none --extra proxy /wheels/rankd-*.whl > /requirements.txt \
    && /opt/rankd/bin/pip install --requirement /requirements.txt \
    && /opt/rankd/bin/pip install --no-deps /wheels/*.whl \
    && rm -r /opt/rankd/lib/python3*/site-packages/rankd/rankers/*/ \
    && /opt/rankd/bin/pip uninstall --yes pip setuptools

# -- what runs ---------------------------------------------------------------------------------------------------------
FROM ${PYTHON_BASE} AS base
ARG PYTHON_BASE
ARG VERSION=0.1.0
ARG REVISION=""
ARG CREATED=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="rankd" \
      org.opencontainers.image.description="A rank daemon for LLM engines" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${PYTHON_BASE}"
# A name for the user: torch asks for it. Nothing belongs to it but its volumes.
RUN echo 'rankd:x:65532:65532:rankd:/tmp:/sbin/nologin' >> /etc/passwd \
    && echo 'rankd:x:65532:' >> /etc/group
# What is written goes to /tmp; no bytecode is written beside the code, pip compiled it.
# onnxruntime sends nothing to its maker: rankd sees to that itself, this is for whoever runs something else in here.
ENV PATH=/opt/rankd/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
WORKDIR /tmp
USER 65532:65532
# gRPC, admin, metrics and health
EXPOSE 50051 50052 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["rankd"]
CMD ["serve"]

FROM base AS cuda
COPY --from=build-cuda /opt/rankd /opt/rankd
# Refuse a CPU: without a GPU, or without its driver, the daemon says so instead of being slow.
ENV RANKD_PROVIDER=cuda NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM base AS train
COPY --from=build-train /opt/rankd /opt/rankd
ENV HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1

FROM base AS proxy
COPY --from=build-proxy /opt/rankd /opt/rankd
# Clients, and metrics and health.
EXPOSE 8080 9465
CMD ["proxy"]

# The last is what a build without --target makes.
FROM base AS cpu
COPY --from=build-cpu /opt/rankd /opt/rankd
ENV RANKD_PROVIDER=cpu
