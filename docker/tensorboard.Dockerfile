# TensorBoard over the runs that training writes.
#
#   docker build -f docker/tensorboard.Dockerfile -t lenet5-libtorch:tensorboard .

ARG DEBIAN_IMAGE=debian:12.15-slim

FROM ${DEBIAN_IMAGE} AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY docker/requirements-tensorboard.txt /requirements.txt
RUN python3 -m venv /opt/tensorboard \
 && /opt/tensorboard/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check --requirement /requirements.txt \
 && /opt/tensorboard/bin/pip uninstall --yes pip

FROM ${DEBIAN_IMAGE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --gid 0 --no-log-init --no-create-home --shell /usr/sbin/nologin lenet5
COPY --from=build /opt/tensorboard /opt/tensorboard
USER 10001:0
LABEL org.opencontainers.image.title="TensorBoard for lenet5-libtorch" \
      org.opencontainers.image.licenses="Apache-2.0"
EXPOSE 6006
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["/opt/tensorboard/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:6006/')"]
CMD ["/opt/tensorboard/bin/tensorboard", "--logdir", "/workspace", "--host", "0.0.0.0", "--port", "6006", "--reload_multifile", "true"]
