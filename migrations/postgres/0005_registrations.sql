-- Where agents' phones are reached, and until when. `q` is in thousandths; `transport` and `address` are where the phone registered from,
-- `same_port` says that it hears there too.
CREATE TABLE registrations (
    operator   TEXT    NOT NULL,
    user_name  TEXT    NOT NULL,
    contact    TEXT    NOT NULL,
    instance   TEXT,
    reg_id     BIGINT,
    call_id    TEXT    NOT NULL,
    cseq       BIGINT  NOT NULL,
    q          BIGINT,
    transport  TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    same_port  BIGINT  NOT NULL,
    user_agent TEXT    NOT NULL,
    ends       BIGINT  NOT NULL,
    PRIMARY KEY (operator, user_name, contact)
);
CREATE INDEX registrations_by_end ON registrations (ends);
