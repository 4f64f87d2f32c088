"""Bounds of rooms, messages and accounts, which the API's document and its errors quote. Reactions keep their own."""

TEXT_BYTES_MAX = 65_535
NAME_CHARS_MAX = 255
DESCRIPTION_CHARS_MAX = 4_096
MENTIONS_MAX = 100
MEMBERS_MAX = 10_000
MEMBERS_AT_CREATION_MAX = 500
TOKENS_MAX = 100
CHANGES_REMEMBERED = 64  # recent edits and deletions that a room keeps, see Room.changes
