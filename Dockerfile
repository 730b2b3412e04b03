# syntax=docker/dockerfile:1
# The operator's image: docker build --tag registry.example/platform/microservice-operator:0.1.0 .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The target folder is a cache and not part of the layer, so the binary is copied out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --package microservice-operator --bin microservice-operator \
    && install -D target/release/microservice-operator /out/microservice-operator

# glibc of the same Debian release, libgcc and CA certificates; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="microservice-operator" \
      org.opencontainers.image.description="A Kubernetes operator that runs services from one Microservice resource each" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/microservice-operator /microservice-operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/microservice-operator"]
CMD ["run"]
