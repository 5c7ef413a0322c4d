# The image of crm-admission: only the static program, without a shell and without root. `make image` builds the same
# image for two architectures without a container engine.
#
#   docker build -t crm-admission:0.2.0 --build-arg REVISION="$(git rev-parse HEAD)" .

# The version in rust-toolchain.toml. That file is not copied, because it lists components that a build does not need.
# RELEASING.md says how to pin the digest. The compiler runs on the architecture of the builder, for each platform.
FROM --platform=$BUILDPLATFORM rust:1.95.0-bookworm AS build
# pip installs zig, which compiles C.
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY crates ./crates
COPY src ./src
# The program contains some of them.
COPY manifests ./manifests
# Cargo needs the sources of all targets in Cargo.toml, even of those that it does not build.
COPY benches ./benches
COPY examples ./examples
COPY tests ./tests
COPY scripts ./scripts
ARG TARGETARCH
# The same program as in releases. It contains neither the commit nor its time, which the scripts ask git for otherwise.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    SOURCE_DATE_EPOCH=0 REVISION=unknown scripts/static-programs "$TARGETARCH" \
    && cp "target/static/$TARGETARCH/crm-admission" /crm-admission

# Nothing: no base image that could have vulnerabilities or need a digest.
FROM scratch
ARG REVISION=unknown
LABEL org.opencontainers.image.title="crm-admission" \
      org.opencontainers.image.description="The admission webhook that guards CRM records in Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="https://github.com/example/crm-admission" \
      org.opencontainers.image.version="0.2.0"
COPY --from=build /crm-admission /usr/local/bin/crm-admission
# A number, so that the kubelet can check `runAsNonRoot`.
USER 65532:65532
EXPOSE 9443 8080
ENTRYPOINT ["/usr/local/bin/crm-admission"]
