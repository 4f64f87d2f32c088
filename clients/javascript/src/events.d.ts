// Made by `python -m tools.clients.types`. Do not edit.

export interface Bye {
  reason: "draining" | "slow" | "unauthenticated";
  retry_after_ms: number;
}

export interface CatchUp {
  rooms: Array<RoomReach>;
}

/** No fields. */
export interface CaughtUp {}

/** The state that the events after it continue. ``truncated``: there are more rooms; read them by page. */
export interface Hello {
  account_id: number;
  rooms: Array<RoomSummary>;
  truncated: boolean;
}

export interface Member {
  room_id: number;
  account_id: number;
  role: "admin" | "member" | "readonly" | null;
}

export interface Message {
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

export interface PresenceShown {
  account_id: number;
  online: boolean;
}

export interface ReadMark {
  room_id: number;
  read_seq: number;
  unread: number;
  mentions: number;
}

/** A room as one of its members sees it: ``role`` is his. */
export interface Room {
  room_id: number;
  kind: "direct" | "group";
  name: string;
  description: string;
  role: "admin" | "member" | "readonly";
  last_seq: number;
  created_at: string;
}

/** How far the history of a room goes. */
export interface RoomReach {
  room_id: number;
  last_seq: number;
}

export interface RoomSummary {
  room_id: number;
  kind: "direct" | "group";
  name: string;
  description: string;
  role: "admin" | "member" | "readonly";
  last_seq: number;
  /** RFC 3339, UTC */
  created_at: string;
  read_seq: number;
  unread: number;
  mentions: number;
  last_message: ShownMessage | null;
  /** RFC 3339, UTC */
  updated_at: string;
}

/** A message as it is read. One that is ``missing`` is in the log, but not to be had from the read tables: it keeps its place, and is otherwise like a deleted one, with an author_id of 0. */
export interface ShownMessage {
  room_id: number;
  seq: number;
  author_id: number;
  text: string;
  /** RFC 3339, UTC */
  posted_at: string;
  edited_at: string | null;
  deleted: boolean;
  reply_to: number | null;
  mentions: Array<number>;
  missing?: boolean;
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
  "message.posted": Message;
  /** Its author edits a message. The data are the message as it is now. */
  "message.edited": Message;
  /** A message is deleted. The data are the message without text. */
  "message.deleted": Message;
  /** A room of yours is created, or another account opens a direct room with you. */
  "room.created": Room;
  /** The name or the description of a room changes. */
  "room.changed": Room;
  /** A room is deleted. No event of this room follows. */
  "room.deleted": Room;
  /** An account joins a room. If it is you, read the room. */
  "member.joined": Member;
  /** The role of a member changes. */
  "member.changed": Member;
  /** An account leaves a room or is removed. If it is you, no event of this room follows. */
  "member.left": Member;
  /** Your own read mark moves, maybe on another device. */
  "read.moved": ReadMark;
  /** A member is typing. Forget it after six seconds. */
  "typing": TypingShown;
  /** A member of a room of yours comes online or goes offline. */
  "presence": PresenceShown;
  /** The server closes this stream. Reconnect with the last id after retry_after_ms. */
  "bye": Bye;
}

export type EventType = "hello" | "caught_up" | "catch_up" | "message.posted" | "message.edited" | "message.deleted" | "room.created" | "room.changed" | "room.deleted" | "member.joined" | "member.changed" | "member.left" | "read.moved" | "typing" | "presence" | "bye";

/** An event of the stream. ``id`` is the token to resume behind it. */
export type Event = { [T in EventType]: { type: T; data: EventData[T]; id: string | null } }[EventType];
