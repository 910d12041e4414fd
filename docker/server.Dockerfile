# The online side: `ranker-serve` with what it imports, and no training code's dependencies.
#   docker build -f docker/server.Dockerfile -t ranking-service/server .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
RUN python3.11 -m venv /opt/ranker
# Dependencies before code: they change less often, so this layer is usually cached.
COPY requirements/serving.txt requirements/
RUN /opt/ranker/bin/pip install --no-cache-dir --no-deps -r requirements/serving.txt
COPY pyproject.toml README.md LICENSE ./
COPY requirements/*.in requirements/
COPY ranker ranker
COPY feature_store feature_store
COPY serving serving
RUN /opt/ranker/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir wheels . \
 && /opt/ranker/bin/pip install --no-cache-dir --no-deps --no-index wheels/*.whl \
 && rm /opt/ranker/bin/ranker-train

FROM ${BASE}
RUN groupadd --gid 10001 ranker \
 && useradd --uid 10001 --gid ranker --no-create-home --home-dir /var/lib/ranker --shell /usr/sbin/nologin ranker \
 && install --directory --owner=ranker --group=ranker /var/lib/ranker
COPY --from=build /opt/ranker /opt/ranker
# Everything that outlives a container is under /var/lib/ranker: the registry, and the embedded stores where they are used.
ENV PATH=/opt/ranker/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RANKER_REGISTRY=/var/lib/ranker/registry \
    RANKER_WORKERS=2
USER ranker
WORKDIR /var/lib/ranker
VOLUME /var/lib/ranker
EXPOSE 8000
# Alive, not ready: a server that waits for its first model is in good health.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3.11", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["ranker-serve"]
# Two processes share what the first has loaded; RANKER_WORKERS or another CMD says otherwise.
CMD ["run", "--host", "0.0.0.0", "--port", "8000"]
