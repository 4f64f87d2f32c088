"""Bounds of rooms, messages and accounts, which the API's document and its errors quote. Reactions keep their own."""

TEXT_BYTES_MAX = 65_535
NAME_CHARS_MAX = 255
DESCRIPTION_CHARS_MAX = 4_096
MENTIONS_MAX = 100
MEMBERS_MAX = 100_000
MEMBERS_AT_CREATION_MAX = 500
MEMBERS_AT_IMPORT_MAX = 10_000  # in one line; further lines bring the others
TOKENS_MAX = 100
CHANGES_REMEMBERED = 64  # recent edits and deletions that a room keeps, see Room.changes
# How many members and direct rooms a snapshot record has, about: what one read mark or new direct room writes again.
MEMBERS_IN_PART = 256
DIRECTS_IN_PART = 1_000
