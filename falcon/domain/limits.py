"""Bounds of rooms, messages and accounts, which the API's document and its errors quote. Reactions keep their own."""

TEXT_BYTES_MAX = 65_535  # a message stays far below the 1 MB that brokers take, with all that surrounds it
NAME_CHARS_MAX = 255  # a line of any client
DESCRIPTION_CHARS_MAX = 4_096  # a page of text; each change of the room writes it again
MENTIONS_MAX = 500  # each is a row, and a notice to an account: all members of a department
MEMBERS_MAX = 100_000  # measured up to here: decision 11
MEMBERS_AT_CREATION_MAX = 500  # one event has all of them
MEMBERS_AT_IMPORT_MAX = 10_000  # in one line; further lines bring the others
TITLE_CHARS_MAX = 100  # a line below a name
ABOUT_CHARS_MAX = 500  # some lines of a card
NOTE_CHARS_MAX = 500  # of a bookmark: a few sentences
TOKENS_MAX = 100  # devices and programs of an account; its state has all of them
UNSHOWN_TEXTS = 16  # handles and e-mails of an account's last wishes, which its next wish releases
CHANGES_REMEMBERED = 64  # recent edits and deletions that a room keeps, see Room.changes
# How many members and direct rooms a snapshot record has, about: what one read mark or new direct room writes again.
MEMBERS_IN_PART = 256
DIRECTS_IN_PART = 1_000
