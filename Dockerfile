# syntax=docker/dockerfile:1

FROM python:3.13.7-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/sentinel
COPY requirements.lock ./
RUN /opt/sentinel/bin/pip install --no-cache-dir --requirement requirements.lock
COPY pyproject.toml setup.py README.md LICENSE ./
COPY book book
COPY feeds feeds
COPY sentinel sentinel
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist . \
    && /opt/sentinel/bin/pip install --no-cache-dir --no-deps /dist/*.whl

FROM python:3.13.7-slim-bookworm
LABEL org.opencontainers.image.title="sentinel-ws" \
      org.opencontainers.image.description="A market-data collector for many exchanges that proves what it holds" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 sentinel \
    && useradd --uid 10001 --gid sentinel --no-create-home --shell /usr/sbin/nologin sentinel \
    && install --directory --owner=sentinel --group=sentinel --mode=0750 /data /archive
COPY --from=build /opt/sentinel /opt/sentinel
ENV PATH=/opt/sentinel/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SENTINEL_DATA_DIR=/data \
    SENTINEL_HTTP=127.0.0.1:8080
# Nothing but /data (and /archive, by the workers of a cluster that share one) is written, so the root file system may be read-only.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["sentinel-ws"]
CMD ["collect", "BTC-USD"]
