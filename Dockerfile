# The server with one bundle: no torch, no root, nothing to write. Build it where `bonaface train` has left its run folder:
#
#   docker build --build-arg BUNDLE=run/bundle -t bonaface .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges -p 127.0.0.1:8000:8000 bonaface
#
# With an API key: -v "$PWD/key:/run/key:ro" -e BONAFACE_KEY_FILE=/run/key
# With sessions or decision log in PostgreSQL: --build-arg 'PACKAGES=psycopg[binary]'

FROM python:3.12-slim AS build
ARG PACKAGES=
WORKDIR /source
COPY pyproject.toml requirements.txt README.md LICENSE CHANGELOG.md ./
COPY recipes recipes
COPY src src
RUN python -m venv /opt/bonaface && /opt/bonaface/bin/pip install --no-cache-dir --constraint requirements.txt . ${PACKAGES}
# The face detector of most bundles, fetched now and checked, so that the server asks nobody for anything.
RUN BONAFACE_CACHE=/opt/bonaface/cache /opt/bonaface/bin/python -c \
    "from bonaface.data.downloads import YUNET, fetch; fetch(YUNET)"

FROM python:3.12-slim
ARG BUNDLE=run/bundle
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin bonaface
COPY --from=build /opt/bonaface /opt/bonaface
COPY ${BUNDLE} /bundle
ENV PATH=/opt/bonaface/bin:$PATH BONAFACE_CACHE=/opt/bonaface/cache ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
# The exec form, so that SIGTERM reaches the server and it answers what it took in.
CMD ["bonaface", "serve", "/bundle", "--host", "0.0.0.0"]
