-- The call's SIP messages, one a line: microseconds after the first one, direction and transport, the far end ("=": as in the line before),
-- start line, CSeq, a note; parted by tabs. NULL for calls of before.
ALTER TABLE calls ADD COLUMN ladder TEXT;
