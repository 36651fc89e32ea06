# A static binary on nothing. The data is in the volume /data.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=docker
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/weft ./cmd/weft
# Empty directories to make /data and /tmp of, with an owner: scratch has no mkdir and no chown.
RUN mkdir /out/data /out/tmp

FROM scratch
# To trust the upstream's certificate.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/weft /weft
# For WEFT_REPLICATE=/litestream.yml; without that, the litestream.yml in /data is taken, if there is one.
COPY litestream.yml /litestream.yml
# Not root. A new named volume takes the owner of /data over; a directory of the host must be made writable for 65532. On
# fly.io volumes belong to root, and so fly.toml builds with USER_ID 0, in a machine that holds nothing else.
ARG USER_ID=65532
COPY --from=build --chown=${USER_ID}:${USER_ID} /out/data /data
# weft looks there whose replica it is, and weft verify restores there.
COPY --from=build --chown=${USER_ID}:${USER_ID} /out/tmp /tmp
USER ${USER_ID}:${USER_ID}
ENV WEFT_DATA=/data WEFT_LISTEN=0.0.0.0:7780
VOLUME /data
EXPOSE 7780
# A start replays the log in seconds; a restore of a large replica, or a rebuild, takes minutes. With another port, set
# WEFT_STATUS_URL.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30m CMD ["/weft", "status", "--ready"]
ENTRYPOINT ["/weft"]
CMD ["serve"]
