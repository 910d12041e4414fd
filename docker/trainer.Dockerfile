# The offline side: `ranker-train` and `ranker-features`.
#   docker build -f docker/trainer.Dockerfile -t ranking-service/trainer .
#   docker build -f docker/trainer.Dockerfile -t ranking-service/trainer:gpu --build-arg LOCK=requirements/gpu.txt .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG LOCK=requirements/cpu.txt
WORKDIR /src
RUN python3.11 -m venv /opt/ranker
# Dependencies before code: they change less often, so this layer is usually cached.
COPY requirements requirements
RUN /opt/ranker/bin/pip install --no-cache-dir --no-deps -r ${LOCK}
COPY pyproject.toml README.md LICENSE ./
COPY ranker ranker
COPY feature_store feature_store
COPY training training
RUN /opt/ranker/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir wheels . \
 && /opt/ranker/bin/pip install --no-cache-dir --no-deps --no-index wheels/*.whl \
 && rm /opt/ranker/bin/ranker-serve

FROM ${BASE}
RUN groupadd --gid 10001 ranker \
 && useradd --uid 10001 --gid ranker --no-create-home --home-dir /var/lib/ranker --shell /usr/sbin/nologin ranker \
 && install --directory --owner=ranker --group=ranker /var/lib/ranker
COPY --from=build /opt/ranker /opt/ranker
COPY configs /etc/ranker
ENV PATH=/opt/ranker/bin:$PATH \
    PYTHONUNBUFFERED=1
USER ranker
WORKDIR /var/lib/ranker
VOLUME /var/lib/ranker
# A job's health is its exit code; while it runs, what can still go wrong is that it has nowhere to write its bundle.
HEALTHCHECK --interval=60s --timeout=5s CMD ["test", "-w", "/var/lib/ranker"]
ENTRYPOINT ["ranker-train"]
CMD ["--help"]
