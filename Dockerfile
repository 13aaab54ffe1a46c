# impasto on the processor, for amd64 and arm64: docs/docker.md
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src src
ARG EXTRAS=cli,heif,jxl,plots,video,web
RUN python -m venv /opt/impasto
# from this index torch comes without CUDA: 200 MB instead of 3 GB
RUN /opt/impasto/bin/pip install --no-cache-dir --constraint constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu ".[$EXTRAS]"
# both networks are in the packages: an image without them is not built
RUN /opt/impasto/bin/python -c "import impasto; [impasto.load_backbone(name) for name in ('compact', 'vgg19')]"

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="impasto" org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/impasto /opt/impasto
COPY LICENSE NOTICE /opt/impasto/
RUN useradd --create-home --uid 1000 impasto && install --directory --owner impasto /work
ENV PATH=/opt/impasto/bin:$PATH PYTHONUNBUFFERED=1
USER impasto
WORKDIR /work
EXPOSE 7860
# of the studio; a container that only paints has none, and ends by itself
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
ENTRYPOINT ["impasto"]
CMD ["--help"]
