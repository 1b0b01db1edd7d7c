# The images of modelfleet.  Build one with:
#   docker build --target modelfleet-operator -t modelfleet-operator .
# On a network with a package mirror, pass your pip settings as a secret, so that they stay out of the image:
#   --secret id=pip,src=FILE   with shell lines such as  export PIP_INDEX_URL=…
#   --secret id=ca,src=FILE    with the authorities to trust; and  export PIP_CERT=/run/secrets/ca  in the other
ARG BASE_IMAGE=python:3.11-slim-bookworm
# The same Python with a C compiler and its headers; only the router's image needs it, and nothing of it is in there.
ARG COMPILER_IMAGE=python:3.11-bookworm

FROM ${BASE_IMAGE} AS base

# ---- locked requirements: rebuilt only when they change
FROM base AS operator-requirements
COPY requirements/operator.txt /requirements.txt
RUN --mount=type=secret,id=pip --mount=type=secret,id=ca \
    if [ -e /run/secrets/pip ]; then . /run/secrets/pip; fi \
    && python3 -m venv /opt/modelfleet \
    && /opt/modelfleet/bin/pip install --no-cache-dir --require-hashes -r /requirements.txt

FROM base AS router-requirements
COPY requirements/router.txt /requirements.txt
RUN --mount=type=secret,id=pip --mount=type=secret,id=ca \
    if [ -e /run/secrets/pip ]; then . /run/secrets/pip; fi \
    && python3 -m venv /opt/modelfleet \
    && /opt/modelfleet/bin/pip install --no-cache-dir --require-hashes -r /requirements.txt

FROM base AS downloader-requirements
COPY requirements/downloader.txt /requirements.txt
RUN --mount=type=secret,id=pip --mount=type=secret,id=ca \
    if [ -e /run/secrets/pip ]; then . /run/secrets/pip; fi \
    && python3 -m venv /opt/modelfleet \
    && /opt/modelfleet/bin/pip install --no-cache-dir --require-hashes -r /requirements.txt

# ---- the project as a wheel
FROM base AS build-requirements
COPY requirements/build.txt /requirements.txt
RUN --mount=type=secret,id=pip --mount=type=secret,id=ca \
    if [ -e /run/secrets/pip ]; then . /run/secrets/pip; fi \
    && python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r /requirements.txt

FROM build-requirements AS wheel
COPY pyproject.toml LICENSE /source/
COPY operator/modelfleet /source/operator/modelfleet
# Nobody reads the README inside an image, so a change of it makes no new one.
RUN touch /source/README.md \
    && /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels /source

# ---- the same for the router, compiled with mypyc: about a minute, and half the CPU of a request
FROM ${COMPILER_IMAGE} AS compile-requirements
COPY requirements/compile.txt /requirements.txt
RUN --mount=type=secret,id=pip --mount=type=secret,id=ca \
    if [ -e /run/secrets/pip ]; then . /run/secrets/pip; fi \
    && python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r /requirements.txt

FROM compile-requirements AS compiled-wheel
COPY pyproject.toml LICENSE /source/
# What the router imports; a change of anything else compiles nothing.
COPY operator/modelfleet/*.py /source/operator/modelfleet/
COPY operator/modelfleet/adapters /source/operator/modelfleet/adapters
COPY operator/modelfleet/api /source/operator/modelfleet/api
COPY operator/modelfleet/cli /source/operator/modelfleet/cli
COPY operator/modelfleet/route /source/operator/modelfleet/route
COPY operator/modelfleet/router /source/operator/modelfleet/router
WORKDIR /source
# Not pip: it would build twice, once for the metadata.
RUN touch README.md \
    && HATCH_BUILD_HOOK_ENABLE_MYPYC=1 MYPYPATH=operator /opt/build/bin/python -m hatchling build -t wheel -d /wheels

# ---- what runs
FROM base AS modelfleet-operator
ENV PATH=/opt/modelfleet/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=operator-requirements /opt/modelfleet /opt/modelfleet
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["modelfleet"]

FROM base AS modelfleet-router
ENV PATH=/opt/modelfleet/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=router-requirements /opt/modelfleet /opt/modelfleet
COPY --from=compiled-wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 65532:65532
ENTRYPOINT ["modelfleet-router"]

# python3 and huggingface_hub: what the init container of an hf:// model runs.
FROM base AS modelfleet-downloader
ENV PATH=/opt/modelfleet/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=downloader-requirements /opt/modelfleet /opt/modelfleet
USER 65532:65532
ENTRYPOINT ["python3"]
