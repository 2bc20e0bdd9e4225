# The image of profile-pipeline: docs/container.md says how it is run. `make image` builds and tries it.
#
# Both stages need the same base: the interpreter stays where the build found it. Any base with Python and its venv
# module will do; name one with its digest for builds that are the same tomorrow:
#     docker build --build-arg BASE=python:3.13-slim@sha256:... -t profile-pipeline .
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /build
# New volumes begin as these directories are, owner and mode included: exports may be dropped by the group, and with the
# sticky bit nobody but the service may move them.
RUN python3 -m venv tools \
 && python3 -m venv --without-pip /opt/profile-pipeline \
 && install --directory --mode=3770 data/drop \
 && install --directory --mode=0700 data/state
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_DEPS=1 \
    PIP_PYTHON=/opt/profile-pipeline/bin/python

# What seldom changes first. The lock is complete, every file in it is checked against its hash, and nothing is compiled.
COPY requirements.lock requirements-columnar.lock requirements-otel.lock ./
RUN ["tools/bin/pip", "install", "--only-binary=:all:", "--require-hashes", "--requirement", "requirements.lock"]
# Parquet and Arrow files take more room than all the rest: docker build --build-arg EXTRA=columnar
# Both extras: --build-arg EXTRA="columnar otel"
ARG EXTRA=
RUN for extra in ${EXTRA}; do \
      tools/bin/pip install --only-binary=:all: --require-hashes --requirement "requirements-${extra}.lock" || exit 1; \
    done

COPY pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
RUN ["tools/bin/pip", "install", "--no-build-isolation", "."]


FROM ${BASE}

COPY --from=build /opt/profile-pipeline /opt/profile-pipeline
COPY --from=build --chown=10001:10001 /build/data /data
# Modules are compiled already, and the root may be read-only. Nothing here multiplies matrices: without this, NumPy begins
# a thread per core of the machine, which count for the container's limit of processes.
ENV PATH=/opt/profile-pipeline/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    OPENBLAS_NUM_THREADS=1

# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME ["/data/drop", "/data/state"]

# Health, pages and metrics, if [web] host is not this machine alone.
EXPOSE 8080

STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["profile-pipeline", "health", "--config", "/etc/profile-pipeline/config.toml"]
ENTRYPOINT ["profile-pipeline"]
CMD ["serve", "--config", "/etc/profile-pipeline/config.toml"]

# Behind all else, since these are others for each build: `make image` takes them from git. SOURCE is the address of the
# repository, REVISION the commit, CREATED its date (RFC 3339).
ARG BASE
ARG SOURCE=
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="profile-pipeline" \
      org.opencontainers.image.description="Gets CRM exports into Adobe Target through the Bulk Profile Update API without losing a row silently." \
      org.opencontainers.image.vendor="The profile-pipeline maintainers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.url="${SOURCE}" \
      org.opencontainers.image.documentation="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE}"
