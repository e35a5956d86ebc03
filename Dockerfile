# docker build -t facility-summary .
#
# Without sign-in the service answers on a loopback address only, in a container too. So publishing a
# port with -p reaches nothing; on the host's network, the host reaches it:
#   docker run --network host -v facility-summary:/data facility-summary
# With sign-in it serves other machines; docs/security.md says how keys are made:
#   docker run -p 8080:8080 -e BIND_ADDR=0.0.0.0:8080 -e FACILITY_SUMMARY__AUTH__SIGN_IN=on \
#       -v facility-summary:/data facility-summary
# TLS: -v …:/tls:ro -e FACILITY_SUMMARY__SERVER__TLS_CERTIFICATE=/tls/tls.crt \
#      -e FACILITY_SUMMARY__SERVER__TLS_KEY=/tls/tls.key
# With TLS or server.internal_bind, give a health check of your own: the one below asks without TLS, at
# BIND_ADDR. docs/configuration.md has the settings, docs/operations.md how to run it.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
# The root certificates are for identity providers, whose keys are fetched over TLS.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin facility-summary \
    && install --directory --owner=facility-summary --group=facility-summary /data
COPY --from=build /build/target/release/facility-summary /usr/local/bin/facility-summary
USER facility-summary
WORKDIR /data
VOLUME /data
ENV DATABASE_URL=sqlite:///data/facility-summary.db \
    BIND_ADDR=127.0.0.1:8080 \
    FACILITY_SUMMARY__LOG__FORMAT=json
EXPOSE 8080
# Alive, not ready: a replica that lost its database still serves what it has, and a restart would
# take that away. The image has no HTTP client; bash can speak enough of it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/${BIND_ADDR##*:} && printf 'GET /health/live HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["facility-summary"]
CMD ["serve"]
