# One image for every role; docker-compose.yaml names the roles. Bases are named by their plain tags.

FROM python:3.12-slim-bookworm AS build
WORKDIR /opt/laurel
ENV XDG_CACHE_HOME=/var/cache/packages
# The packages first: they change more seldom than the code. Each is checked against its hash.
COPY start.sh pyproject.toml requirements.lock ./
RUN --mount=type=cache,target=/var/cache/packages ./start.sh setup packages
COPY . .
RUN --mount=type=cache,target=/var/cache/packages ./start.sh setup \
 # What only installing and the packages' own tests need.
 && .venv/bin/python -m pip uninstall --quiet --yes uv pip \
 && find .venv -type d -name tests -regex '.*/\(numpy\|pandas\|pyarrow\|scipy\|sklearn\)/.*' -prune -exec rm -r {} + \
 && rm -r logs

FROM python:3.12-slim-bookworm
# Group 0 owns what is written, as where a cluster gives each container a user of its own.
RUN useradd --uid 10001 --gid 0 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin laurel \
 && install --directory --owner 10001 --group 0 --mode 0770 /var/lib/laurel /var/lib/laurel/store /var/log/laurel
COPY --from=build /opt/laurel /opt/laurel
ENV PATH=/opt/laurel/.venv/bin:$PATH \
    HOME=/tmp \
    LAUREL_HOME=/var/lib/laurel \
    LAUREL_LOG_DIR=/var/log/laurel \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/laurel
USER 10001:0
HEALTHCHECK --interval=30s --timeout=20s --start-period=3m --start-interval=2s --retries=3 \
    CMD ["python", "-I", "-S", "local/health.py"]
ENTRYPOINT ["/opt/laurel/start.sh"]
CMD ["help"]
