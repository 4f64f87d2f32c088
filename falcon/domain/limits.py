"""Every bound of the domain in one place; the API's document and its errors quote them."""

TEXT_BYTES_MAX = 65_535
NAME_CHARS_MAX = 255
DESCRIPTION_CHARS_MAX = 4_096
MENTIONS_MAX = 100
MEMBERS_MAX = 100_000
MEMBERS_AT_CREATION_MAX = 500
MEMBERS_AT_IMPORT_MAX = 10_000  # in one line; further lines bring the others
TOKENS_MAX = 100
REACTION_KINDS_MAX = 50  # different emoji that a message has
REACTION_ACCOUNTS_SHOWN = 20  # of one emoji, with a message; the list of its reactions has all
EMOJI_BYTES_MAX = 32
CHANGES_REMEMBERED = 64  # recent edits and deletions that a room keeps, see Room.changes
# Recent changes of reactions that a room keeps, see Room.reaction_changes: those of the last minute, within bounds.
REACTIONS_REMEMBERED_LEAST = 16
REACTIONS_REMEMBERED_MOST = 512
REACTIONS_REMEMBERED_MILLIS = 60_000
# How many members and direct rooms a snapshot record has, about: what one read mark or new direct room writes again.
MEMBERS_IN_PART = 256
DIRECTS_IN_PART = 1_000
