-- Rows carry the import that brought them, and a table says whose rows it shows: an import is staged beside what callers read,
-- and becomes theirs in one step.
ALTER TABLE tables ADD COLUMN import TEXT NOT NULL DEFAULT '';

CREATE TABLE imported_rows (
    operator TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    import   TEXT    NOT NULL,
    ordinal  BIGINT NOT NULL,
    row_key  TEXT    NOT NULL,
    cells    TEXT    NOT NULL,
    PRIMARY KEY (operator, name, import, ordinal),
    UNIQUE (operator, name, import, row_key)
);
INSERT INTO imported_rows (operator, name, import, ordinal, row_key, cells)
    SELECT operator, name, '', ordinal, row_key, cells FROM table_rows;
DROP TABLE table_rows;
ALTER TABLE imported_rows RENAME TO table_rows;
