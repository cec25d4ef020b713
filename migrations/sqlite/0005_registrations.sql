-- Where agents' phones are reached, and until when. `q` is in thousandths; `transport` and `address` are where the phone registered from,
-- `same_port` says that it hears there too.
CREATE TABLE registrations (
    operator   TEXT    NOT NULL,
    user_name  TEXT    NOT NULL,
    contact    TEXT    NOT NULL,
    instance   TEXT,
    reg_id     INTEGER,
    call_id    TEXT    NOT NULL,
    cseq       INTEGER NOT NULL,
    q          INTEGER,
    transport  TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    same_port  INTEGER NOT NULL,
    user_agent TEXT    NOT NULL,
    ends       INTEGER NOT NULL,
    PRIMARY KEY (operator, user_name, contact)
) STRICT;
CREATE INDEX registrations_by_end ON registrations (ends);
