# migrator in a container. Without a registry: --build-arg BASE=<any image with Python >= 3.11
# and its venv module>; without a network: dependencies and setuptools as wheels in wheelhouse/.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ENV PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY . .
RUN if [ -d wheelhouse ]; then export PIP_NO_INDEX=1 PIP_FIND_LINKS=/src/wheelhouse; fi \
    && python3 -m venv /opt/migrator \
    && /opt/migrator/bin/pip install --no-cache-dir . \
    && /opt/migrator/bin/pip uninstall --yes setuptools pip

FROM ${BASE}
LABEL org.opencontainers.image.title="docker-store-migrator" \
    org.opencontainers.image.description="Carries a Docker <= 1.9 data root over to the content-addressed store of Docker >= 1.10" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/migrator /opt/migrator
# Everything is compiled already, and the root file system may be read-only.
ENV PATH=/opt/migrator/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENTRYPOINT ["migrator"]
CMD ["--help"]
