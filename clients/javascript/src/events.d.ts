// Made by `python -m tools.clients.types`. Do not edit.
import type { ReactionSummary, RoomSummary, ShownMessage, ThreadParent, ThreadSummary } from "./api.js";

/** The account as people see it now. */
export interface AccountShown {
  account_id: number;
  name: string;
  handle: string | null;
  title: string;
  deactivated: boolean;
}

export interface CatchUp {
  rooms: Array<RoomReach>;
}

/** No fields. */
export interface CaughtUp {}

/** The state that the events after it continue. ``truncated``: there are more rooms; read them by page. ``unread_threads``: how many threads that the account follows have unread messages. ``without_receipts``: rooms that the stream names, with too many members for receipts. */
export interface Hello {
  account_id: number;
  rooms: Array<RoomSummary>;
  truncated: boolean;
  unread_threads: number;
  without_receipts: Array<number>;
}

export interface PresenceShown {
  account_id: number;
  online: boolean;
}

/** How far the account has read the room. */
export interface Receipt {
  room_id: number;
  account_id: number;
  read_seq: number;
}

/** How far the history of a room goes. */
export interface RoomReach {
  room_id: number;
  last_seq: number;
}

export interface StreamEnd {
  reason: "draining" | "slow" | "unauthenticated";
  retry_after_ms: number;
}

/** ``note``: empty if the bookmark is removed. */
export interface StreamedBookmark {
  room_id: number;
  seq: number;
  note: string;
}

export interface StreamedMember {
  room_id: number;
  account_id: number;
  role: "admin" | "member" | "readonly" | null;
}

export interface StreamedMessage {
  room_id: number;
  seq: number;
  author_id: number;
  text: string;
  posted_at: string;
  edited_at: string | null;
  deleted: boolean;
  reply_to: number | null;
  mentions: Array<number>;
}

/** ``account_id``: who has pinned, unpinned or deleted the message. */
export interface StreamedPin {
  room_id: number;
  seq: number;
  account_id: number;
}

/** ``count``: how many accounts have reacted with the emoji now. */
export interface StreamedReaction {
  room_id: number;
  seq: number;
  account_id: number;
  emoji: string;
  count: number;
}

export interface StreamedReadMark {
  room_id: number;
  read_seq: number;
  unread: number;
  mentions: number;
}

/** A room as one account sees it. ``role``: the account's own; None in an open room that it has not joined. */
export interface StreamedRoom {
  room_id: number;
  kind: "direct" | "group";
  name: string;
  description: string;
  role: "admin" | "member" | "readonly" | null;
  last_seq: number;
  created_at: string;
  peer_id: number | null;
  open: boolean;
  default: boolean;
}

/** ``room_id``, ``seq``: the message that the thread belongs to. */
export interface StreamedThread {
  room_id: number;
  seq: number;
  thread_id: number;
}

/** ``account_id``: the author of the thread's newest message, which is ``last_seq``. */
export interface StreamedThreadChange {
  room_id: number;
  seq: number;
  thread_id: number;
  last_seq: number;
  last_at: string;
  account_id: number;
}

export interface TypingShown {
  room_id: number;
  account_id: number;
}

export interface EventData {
  /** First, on a stream that does not resume. */
  "hello": Hello;
  /** All missed events have been sent; from here on events are live. */
  "caught_up": CaughtUp;
  /** You missed too much. Read each room by page, until its last_seq has come. */
  "catch_up": CatchUp;
  /** A message is posted. */
  "message.posted": StreamedMessage;
  /** Its author edits a message. The data are the message as it is now. */
  "message.edited": StreamedMessage;
  /** A message is deleted. The data are the message without text. */
  "message.deleted": StreamedMessage;
  /** A member reacts to a message. */
  "reaction.added": StreamedReaction;
  /** A reaction to a message is removed. */
  "reaction.removed": StreamedReaction;
  /** A message is pinned to its room. */
  "pin.added": StreamedPin;
  /** A message is unpinned, or a pinned message is deleted. */
  "pin.removed": StreamedPin;
  /** A member starts the thread of a message. */
  "thread.started": StreamedThread;
  /** A message is posted in a thread that you do not follow. Followers get the message. */
  "thread.changed": StreamedThreadChange;
  /** Your own read mark moves, maybe on another device. */
  "read.moved": StreamedReadMark;
  /** You set a bookmark, or change its note, on any device. */
  "bookmark.set": StreamedBookmark;
  /** You remove a bookmark, on any device. */
  "bookmark.removed": StreamedBookmark;
  /** A room of yours is created, or another account opens a direct room with you. */
  "room.created": StreamedRoom;
  /** The name or the description of a room changes, or it is opened or closed. If it is closed and you have not joined it, no event of this room follows. */
  "room.changed": StreamedRoom;
  /** A room is deleted. No event of this room follows. */
  "room.deleted": StreamedRoom;
  /** An account joins a room. If it is you, read the room. */
  "member.joined": StreamedMember;
  /** The role of a member changes. */
  "member.changed": StreamedMember;
  /** An account leaves a room or is removed. If it is you, no event of this room follows. */
  "member.left": StreamedMember;
  /** A member is typing. Forget it after six seconds. */
  "typing": TypingShown;
  /** An account that the stream watches comes online or goes offline. */
  "presence": PresenceShown;
  /** The name, handle or title of an account that the stream watches has changed, or it was deactivated. */
  "account": AccountShown;
  /** A member has read further in a room of at most 100 members that the stream names. */
  "receipts": Receipt;
  /** The server closes this stream. Reconnect with the last id after retry_after_ms. */
  "bye": StreamEnd;
}

export type EventType = "hello" | "caught_up" | "catch_up" | "message.posted" | "message.edited" | "message.deleted" | "reaction.added" | "reaction.removed" | "pin.added" | "pin.removed" | "thread.started" | "thread.changed" | "read.moved" | "bookmark.set" | "bookmark.removed" | "room.created" | "room.changed" | "room.deleted" | "member.joined" | "member.changed" | "member.left" | "typing" | "presence" | "account" | "receipts" | "bye";

/** An event of the stream. ``id`` is the token to resume after it. */
export type Event = { [T in EventType]: { type: T; data: EventData[T]; id: string | null } }[EventType];
