# `docker build -t astra-credential .`: the static binary and certificate authorities, nothing else.
# `docker build --target job -t astra-credential-job .`: with kubectl and a shell, for deploy/kubernetes.
# Not tried: no daemon was at hand.
FROM rust:1-alpine AS build
# Alpine keeps no package but the newest, so no version is named.
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates musl-dev
WORKDIR /source
COPY . .
RUN cargo install --locked --path . --root /out

FROM alpine:3.22 AS job
COPY --from=registry.k8s.io/kubectl:v1.34.5 /bin/kubectl /usr/local/bin/kubectl
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/bin/astra-credential /usr/local/bin/astra-credential
USER 65532:65532

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/bin/astra-credential /astra-credential
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
ENTRYPOINT ["/astra-credential"]
