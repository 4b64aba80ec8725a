# The server as an image. Build:  docker build -t sigilo .        (or: buildah build --format docker -t sigilo .)
#
# Run behind a proxy that terminates TLS, with the data in a volume:
#     docker run --stop-timeout 15 -v sigilo-data:/data -p 127.0.0.1:8000:8000 \
#         -e SIGILO__SERVER__BEHIND_PROXY=true sigilo
# Without behind_proxy or a certificate the server refuses to listen beyond loopback and says so.
# The administration works on the same data:  docker exec CONTAINER sigilo admin user list --clinic demo

FROM docker.io/library/rust:1.95.0-bookworm AS build
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends protobuf-compiler \
    && rm -rf /var/lib/apt/lists/*
# Debian's protoc instead of the one xtask brings; an existing PROTOC wins over .cargo/config.toml.
ENV PROTOC=/usr/bin/protoc
WORKDIR /build
# The image's own toolchain is the pinned one; the file would make rustup fetch clippy and rustfmt as well.
ENV RUSTUP_TOOLCHAIN=1.95.0
COPY . .
RUN cargo build --locked --release --package sigilo --bin sigilo

FROM docker.io/library/debian:bookworm-slim
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 sigilo \
    && useradd --system --uid 10001 --gid sigilo --home-dir /data --shell /usr/sbin/nologin sigilo \
    && install -d -m 0700 -o sigilo -g sigilo /data
COPY --from=build /build/target/release/sigilo /usr/local/bin/sigilo
COPY --from=build /build/LICENSE /usr/share/doc/sigilo/LICENSE
USER sigilo
WORKDIR /data
VOLUME /data
EXPOSE 8000
# SIGTERM drains: finishes sends in flight and closes sockets, within 10 s.
STOPSIGNAL SIGTERM
# bash speaks to the port itself, so the image needs no HTTP client. With TLS in the server itself, replace this
# by a check of your orchestrator.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8000 && printf 'GET /health HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["sigilo"]
CMD ["serve", "--listen", "0.0.0.0:8000", "--data", "/data"]
