-- Moments are milliseconds since 1970 in UTC; `fields`, `path`, `media` and `cells` are JSON.

CREATE TABLE cases (
    folio       TEXT    NOT NULL PRIMARY KEY,
    operator    TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    subkind     TEXT    NOT NULL,
    fields      TEXT    NOT NULL,
    channel     TEXT    NOT NULL,
    call_key    TEXT    NOT NULL,
    received    BIGINT NOT NULL,
    due         BIGINT,
    state       TEXT    NOT NULL,
    next_step   TEXT    NOT NULL,
    idempotency TEXT    NOT NULL,
    UNIQUE (operator, idempotency)
);
CREATE INDEX cases_by_state ON cases (operator, state, received);
CREATE INDEX cases_by_time ON cases (received);

-- What happened to a case. Rows are only ever added; `once` keeps a repeated write from adding its row again.
CREATE TABLE case_events (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    folio    TEXT    NOT NULL,
    at       BIGINT NOT NULL,
    kind     TEXT    NOT NULL,
    call_key TEXT    NOT NULL,
    detail   TEXT    NOT NULL,
    once     TEXT    NOT NULL UNIQUE
);
CREATE INDEX case_events_by_folio ON case_events (folio, id);

CREATE TABLE calls (
    call_key    TEXT    NOT NULL PRIMARY KEY,
    operator    TEXT    NOT NULL,
    flow        TEXT    NOT NULL,
    sip_call_id TEXT    NOT NULL,
    called      TEXT    NOT NULL,
    caller      TEXT    NOT NULL,
    class       TEXT    NOT NULL,
    began       BIGINT NOT NULL,
    answered    BIGINT,
    ended       BIGINT NOT NULL,
    result      TEXT    NOT NULL,
    cause       TEXT    NOT NULL,
    folios      TEXT    NOT NULL,
    path        TEXT    NOT NULL,
    media       TEXT    NOT NULL
);
CREATE INDEX calls_by_time ON calls (operator, began);

-- Everything that happened, in one numbered row each: whoever listens resumes from the last number it saw.
CREATE TABLE events (
    seq      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       BIGINT NOT NULL,
    kind     TEXT    NOT NULL,
    operator TEXT    NOT NULL,
    subject  TEXT    NOT NULL
);

CREATE TABLE outbox (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator    TEXT    NOT NULL,
    channel     TEXT    NOT NULL,
    recipient   TEXT    NOT NULL,
    template    TEXT    NOT NULL,
    body        TEXT    NOT NULL,
    folio       TEXT,
    call_key    TEXT    NOT NULL,
    queued      BIGINT NOT NULL,
    state       TEXT    NOT NULL,
    idempotency TEXT    NOT NULL,
    UNIQUE (operator, idempotency)
);
CREATE INDEX outbox_by_state ON outbox (state, id);
CREATE INDEX outbox_by_folio ON outbox (folio);

-- Orders to block a device or to suspend a line. `subject` is what is blocked: the first 14 digits of the IMEI, or the
-- line. One order in force a subject.
CREATE TABLE orders (
    operator TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    folio    TEXT    NOT NULL,
    imei     TEXT    NOT NULL,
    line     TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    state    TEXT    NOT NULL,
    ordered  BIGINT NOT NULL,
    released BIGINT,
    PRIMARY KEY (operator, kind, subject, folio)
);
CREATE UNIQUE INDEX orders_in_force ON orders (operator, kind, subject) WHERE released IS NULL;
CREATE INDEX orders_by_folio ON orders (folio);

CREATE TABLE tables (
    operator TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    size     BIGINT NOT NULL,
    imported BIGINT NOT NULL,
    PRIMARY KEY (operator, name)
);

-- `row_key` is the row's key columns, joined with U+001F.
CREATE TABLE table_rows (
    operator TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    ordinal  BIGINT NOT NULL,
    row_key  TEXT    NOT NULL,
    cells    TEXT    NOT NULL,
    PRIMARY KEY (operator, name, ordinal),
    UNIQUE (operator, name, row_key)
);
