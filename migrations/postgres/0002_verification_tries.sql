-- Wrong tries to verify an account, of whatever call. `subject` is the service and what it was asked about, without the secret.
CREATE TABLE verification_tries (
    id       TEXT    NOT NULL PRIMARY KEY,
    operator TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    at       BIGINT NOT NULL
);
CREATE INDEX verification_tries_by_subject ON verification_tries (operator, subject, at);

-- Accounts that take no tries until a moment; tries before it count no more. `try` is the one that locked it.
CREATE TABLE verification_locks (
    operator TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    until    BIGINT NOT NULL,
    try      TEXT    NOT NULL,
    PRIMARY KEY (operator, subject)
);
