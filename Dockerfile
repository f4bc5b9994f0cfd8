# The static binary and nothing else but certificate authorities: `docker build -t astra-credential .`
# No daemon was at hand to try this with. It holds to what needs no trying: one build, two copies.
FROM rust:1-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates
WORKDIR /source
COPY . .
RUN cargo install --locked --path . --root /out

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/bin/astra-credential /astra-credential
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
ENTRYPOINT ["/astra-credential"]
