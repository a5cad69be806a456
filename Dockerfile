# An image that serves models. Build it on the kind of machine that it will run on: the kernels are
# compiled for its processor.
#
#   docker build -t fasttext-app .
#   docker run --read-only -p 8000:8000 -v "$PWD/models:/models:ro" fasttext-app /models/tickets

FROM python:3.11-slim AS build
# Options of pip, such as the index of torch's builds for the CPU.
ARG PIP_OPTIONS=""
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY configs configs
COPY data/sample data/sample
COPY fasttext_app fasttext_app
RUN python -m venv /opt/fasttext-app
RUN /opt/fasttext-app/bin/pip install --no-cache-dir -c constraints.txt $PIP_OPTIONS ".[serve]"
RUN /opt/fasttext-app/bin/fasttext-app warm-up

FROM python:3.11-slim
COPY --from=build /opt/fasttext-app /opt/fasttext-app
ENV PATH=/opt/fasttext-app/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["fasttext-app", "serve", "--host", "0.0.0.0"]
CMD ["--help"]
