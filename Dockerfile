FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
COPY --from=build /src/target/release/contesta /usr/local/bin/contesta
WORKDIR /srv/contesta
COPY contesta.toml ./
COPY flows flows
COPY prompts prompts
# A volume mounted at data/ for the first time takes its owner from here. No port below 1024 is needed, so no root.
RUN useradd --system --no-create-home --uid 10001 contesta && install -d -o contesta -g contesta data
USER contesta
EXPOSE 5060/udp
ENTRYPOINT ["contesta"]
CMD ["run"]
