# The image of the service. Builds with Docker's classic builder and with BuildKit.
#   BASE        what the service runs on: anything with python3 >= 3.11
#   BUILD_BASE  the same Python with pip, for the first stage only
# Same content, same layers: no file carries the time at which it was built, and bytecode doesn't depend on chance. What
# changes seldom comes first, so that a change of the code makes one small layer.
ARG BASE=python:3.13-slim-bookworm
ARG BUILD_BASE=python:3.13-slim-bookworm

FROM ${BUILD_BASE} AS packages
ARG SOURCE_DATE_EPOCH=1735689600
COPY app/requirements.lock /build/requirements.lock
# pip installs into the environment from outside, so that pip itself doesn't end up in it. Bytecode is made here because
# the container's root file system is read-only; unchecked, so that it doesn't depend on time stamps.
RUN python3 -m venv --without-pip /opt/venv \
 && python3 -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
      --progress-bar off --require-hashes --no-deps --only-binary :all: -r /build/requirements.lock \
 && PYTHONHASHSEED=0 /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib \
 && chmod -R a+rX,go-w /opt/venv \
 && mkdir -p /image/opt /image/etc && mv /opt/venv /image/opt \
 && touch /image/etc/hosts /image/etc/resolv.conf \
 && find /image -exec touch --no-dereference --date=@${SOURCE_DATE_EPOCH} {} +

FROM ${BASE} AS runtime
ARG SOURCE_DATE_EPOCH=1735689600
# Before anything is run: BuildKit puts its own over /etc/hosts and /etc/resolv.conf, and where a base has none it would
# leave the time of that in /etc.
COPY --from=packages /image/ /
# The official Python image brings pip along; a service that runs has no use for an installer.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/ensurepip \
      /usr/local/lib/python3*/site-packages/pip /usr/local/lib/python3*/site-packages/pip-* \
 && find /usr/local -maxdepth 4 -type d -exec touch --date=@${SOURCE_DATE_EPOCH} {} +
# The only writable places are /tmp, a volume, and /dev/shm.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    PROMETHEUS_MULTIPROC_DIR=/tmp/metrics
WORKDIR /srv
EXPOSE 8080
# Exec form: gunicorn's master is process 1 and gets SIGTERM itself.
CMD ["gunicorn", "--config", "/srv/app/gunicorn.conf.py"]
ARG VERSION=1.0.0
LABEL org.opencontainers.image.title="flask-hello" \
      org.opencontainers.image.description="A Flask service that greets, says what it is, and can fail on purpose" \
      org.opencontainers.image.version="${VERSION}"

FROM runtime AS app
ARG SOURCE_DATE_EPOCH=1735689600
COPY app /srv/app
# File modes of the checkout may be too strict for the image's user. The check ends the build if BASE's Python isn't the
# one of BUILD_BASE, or if the code can't be imported.
RUN PYTHONHASHSEED=0 python -m compileall -q --invalidation-mode unchecked-hash /srv/app \
 && chmod -R a+rX,go-w /srv/app \
 && env -u PROMETHEUS_MULTIPROC_DIR gunicorn --check-config --config /srv/app/gunicorn.conf.py \
 && mkdir /image && cp -a /srv /image \
 && find /image -exec touch --no-dereference --date=@${SOURCE_DATE_EPOCH} {} +

FROM runtime
# Numeric: Kubernetes can't see that a name is not root.
USER 10001:10001
COPY --from=app /image/ /
