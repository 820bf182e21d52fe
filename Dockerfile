# The image of Headrace: the wheel and its locked dependencies, run as a user without rights.
FROM python:3.13-slim AS build
WORKDIR /build
# faust-streaming has no wheel for Linux on arm64: there pip compiles its source, which the lock names by hash too.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
# Wheels are built with tools that are locked too, in an environment that stays behind.
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv /opt/build \
    && /opt/build/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && /opt/build/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --require-hashes \
        --wheel-dir dist -r requirements/runtime.txt
COPY . .
RUN /opt/build/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && python -m venv --without-pip /opt/headrace \
    && /opt/build/bin/python -m pip --python /opt/headrace/bin/python install --no-cache-dir --no-compile --no-deps --no-index \
        dist/*.whl \
    && python -m compileall -q /opt/headrace/lib

FROM python:3.13-slim
LABEL org.opencontainers.image.title="headrace" \
      org.opencontainers.image.description="Streaming SQL on Kafka, in Python" \
      org.opencontainers.image.licenses="Apache-2.0"
# tini as process 1 forwards signals and reaps; its newest fix in the release is wanted, not one version.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 headrace \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/headrace --shell /usr/sbin/nologin headrace \
    && install --directory --owner=10001 --group=10001 /var/lib/headrace
COPY --from=build /opt/headrace /opt/headrace
# Two arenas keep glibc from holding memory for each thread. Bytecode is compiled already; the root may be read-only.
ENV PATH=/opt/headrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    HEADRACE_STATE_DIR=/var/lib/headrace
USER 10001:10001
WORKDIR /var/lib/headrace
VOLUME ["/var/lib/headrace", "/tmp"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('HEADRACE_HTTP_PORT', '8088')}/health/live\", timeout=2)"]
ENTRYPOINT ["tini", "--", "headrace"]
