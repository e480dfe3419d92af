# A trainer of pipelines/ with its Python, for the lifecycle's tasks in containers.
#
#   docker build -f docker/trainer.Dockerfile --build-arg TRAINER=pytorch -t lenet5-libtorch:pytorch .
#   docker build -f docker/trainer.Dockerfile --build-arg TRAINER=tensorflow -t lenet5-libtorch:tensorflow .

ARG DEBIAN_IMAGE=debian:12.15-slim

FROM ${DEBIAN_IMAGE} AS build
ARG TRAINER
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY test/requirements.txt pipelines/requirements-tensorflow.txt /requirements/
RUN python3 -m venv /opt/venv \
 && case "${TRAINER}" in \
      # PyTorch in the version of the tests.
      pytorch) set -- $(grep -E '^(torch|numpy|tensorboard)==' /requirements/requirements.txt) ;; \
      tensorflow) set -- --requirement /requirements/requirements-tensorflow.txt ;; \
      *) echo "Expected pytorch or tensorflow for TRAINER but received ${TRAINER:-nothing}" >&2; exit 1 ;; \
    esac \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check "$@" \
 && /opt/venv/bin/pip uninstall --yes pip

FROM ${DEBIAN_IMAGE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --gid 0 --no-log-init --no-create-home --shell /usr/sbin/nologin lenet5 \
 && install --directory --mode=2775 --owner=10001 --group=0 /workspace /models
COPY --from=build /opt/venv /opt/venv
COPY pipelines/trainers /opt/lenet5/pipelines/trainers
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin
WORKDIR /opt/lenet5
USER 10001:0
LABEL org.opencontainers.image.title="A trainer of lenet5-libtorch's pipeline" \
      org.opencontainers.image.licenses="Apache-2.0"
CMD ["python", "--version"]
