# The image of Falcon, for every role: `make image`. A layer is the same whenever what is in it is: files have fixed times.
# So a version whose dependencies are those of the last one is a few megabytes to fetch.
#
# For releases name the base by its digest: --build-arg BASE=python:3.13-slim-trixie@sha256:…
ARG BASE=python:3.13-slim-trixie

# --- dependencies, as the lock has them -------------------------------------------------------------------------------
FROM ${BASE} AS dependencies
# The first time that an archive can have.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    SOURCE_DATE_EPOCH=315532800 PYTHONHASHSEED=0
WORKDIR /build

# For `strip`, below. Whichever version Debian has: nothing of it is in the image.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*

COPY requirements/build.lock requirements/run.lock ./
# Wheels are built, where there are none, with the tools of a lock as well, instead of what pip would fetch for it.
RUN python -m venv tools \
    && tools/bin/pip install --quiet --require-hashes --requirement build.lock \
    && tools/bin/pip wheel --quiet --no-build-isolation --require-hashes --requirement run.lock --wheel-dir wheels

# Only what runs: no pip, no tests, no sources of C, no lexers for all the languages that Pygments colours, and no symbols,
# which are more than half of all machine code.
RUN python -m venv --without-pip /opt/falcon \
    && tools/bin/pip --python /opt/falcon install --quiet --no-index --no-deps --no-compile wheels/*.whl \
    && find /opt/falcon -depth -type d \( -name tests -o -name test -o -name sqlite_extra_binaries \) -exec rm -rf {} + \
    && find /opt/falcon -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.c' -o -name '*.h' \) -delete \
    && find /opt/falcon -path '*/pygments/lexers/[a-z]*.py' ! -name python.py ! -name special.py -delete \
    && find /opt/falcon -type f -name '*.so*' -exec strip --strip-unneeded {} + \
    && strip --strip-all /opt/falcon/bin/py-spy

# Compiled here, as the root file system is read-only; but for what Falcon does not import. The times of files are no news.
RUN /opt/falcon/bin/python -m compileall -q --invalidation-mode unchecked-hash \
        -x '/(apsw|pygments|pydantic/v1|websockets/(legacy|sync|trio))/' /opt/falcon/lib \
    && find /opt/falcon -exec touch --no-dereference --date=@0 {} +

# --- Falcon itself ----------------------------------------------------------------------------------------------------
FROM dependencies AS falcon
COPY LICENSE README.md pyproject.toml ./
# falcon/web/client is a link to the JavaScript client.
COPY clients clients
COPY falcon falcon
RUN tools/bin/pip wheel --quiet --no-build-isolation --no-deps --wheel-dir own ./clients/python . \
    && tools/bin/pip --python /opt/falcon install --quiet --no-index --no-deps --no-compile --prefix /own own/*.whl \
    && /opt/falcon/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /own -p /opt/falcon /own/lib \
    && find /own -exec touch --no-dereference --date=@0 {} +

# --- the image --------------------------------------------------------------------------------------------------------
FROM ${BASE}
COPY --from=dependencies /opt/falcon /opt/falcon
COPY --from=falcon /own /opt/falcon

# A user with a name, for tools that ask for it; who runs the image sets the number. What Falcon imports is imported
# once, to see that it can be, and since the base's own modules are not compiled.
RUN echo 'falcon:x:10001:' >>/etc/group \
    && echo 'falcon:x:10001:10001::/data:/usr/sbin/nologin' >>/etc/passwd \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data \
    && /opt/falcon/bin/python -c "import importlib, pkgutil, falcon; [importlib.import_module(each.name) for each in pkgutil.walk_packages(falcon.__path__, 'falcon.')]"

# SAFEPATH: what lies in the data folder is never taken for a module.
ENV PATH=/opt/falcon/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FALCON_HOST=0.0.0.0 \
    FALCON_DATA_DIR=/data

USER 10001:10001
WORKDIR /data
EXPOSE 8080 8081 8082
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["falcon", "health"]
ENTRYPOINT ["falcon"]
CMD ["up"]

ARG VERSION=0
ARG REVISION=unknown
ARG CREATED=1980-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Falcon" \
      org.opencontainers.image.description="A chat messaging backend built on actors" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
