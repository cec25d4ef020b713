FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
COPY --from=build /src/target/release/contesta /usr/local/bin/contesta
EXPOSE 5060/udp
ENTRYPOINT ["contesta"]
