# The image of the service. Builds with Docker's classic builder too.
#   BASE        what the service runs on: anything with python3 >= 3.11
#   BUILD_BASE  the same Python with pip, for the build stage only
ARG BASE=python:3.13-slim-bookworm
ARG BUILD_BASE=python:3.13-slim-bookworm

FROM ${BUILD_BASE} AS build
COPY app/requirements.lock /build/requirements.lock
# pip installs into the environment from outside, so that pip itself doesn't end up in it.
RUN python3 -m venv --without-pip /opt/venv \
 && python3 -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
      --progress-bar off --require-hashes --no-deps --only-binary :all: -r /build/requirements.lock
COPY app /srv/app
# Bytecode is made here because the container's root file system is read-only; unchecked, so that it doesn't depend on
# time stamps. File modes of the checkout may be too strict for the image's user.
RUN /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib /srv/app \
 && chmod -R a+rX,go-w /opt/venv /srv/app

FROM ${BASE}
# The official Python image brings pip along; a service that runs has no use for an installer.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/ensurepip \
      /usr/local/lib/python3*/site-packages/pip /usr/local/lib/python3*/site-packages/pip-*
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/app /srv/app
# The only writable places are /tmp, a volume, and /dev/shm.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    PROMETHEUS_MULTIPROC_DIR=/tmp/metrics
WORKDIR /srv
# Numeric: Kubernetes can't see that a name is not root.
USER 10001:10001
# Ends the build if BASE's Python isn't the one of BUILD_BASE.
RUN env -u PROMETHEUS_MULTIPROC_DIR gunicorn --check-config --config /srv/app/gunicorn.conf.py
EXPOSE 8080
# Exec form: gunicorn's master is process 1 and gets SIGTERM itself.
CMD ["gunicorn", "--config", "/srv/app/gunicorn.conf.py"]

# Last, because they change most often and would invalidate every layer below them.
ARG VERSION=1.0.0
ARG REVISION=unknown
ARG SOURCE=""
LABEL org.opencontainers.image.title="flask-hello" \
      org.opencontainers.image.description="A Flask service that greets, says what it is, and can fail on purpose" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
