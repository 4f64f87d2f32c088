// Made by `python -m tools.clients.types`. Do not edit.

/** ``email``: for the account itself, owners and admins. ``is_admin``: the role is owner or admin. */
export interface Account {
  account_id: number;
  name: string;
  handle: string | null;
  title: string;
  about: string;
  bot: boolean;
  role: "admin" | "bot" | "guest" | "member" | "owner";
  deactivated: boolean;
  is_admin: boolean;
  /** RFC 3339, UTC */
  created_at: string;
  email: string | null;
}

export interface AccountChange {
  /** Stored as NFC. Control characters and characters that change the direction of text are refused. So is a name that is invisible */
  name?: string;
  handle?: string | null;
  email?: string | null;
  title?: string;
  about?: string;
  role?: "admin" | "bot" | "guest" | "member" | "owner";
  deactivated?: boolean;
}

export interface Accounts {
  accounts: Array<Account>;
  next_cursor: string | null;
}

export interface Author {
  account_id: number;
  name: string;
}

/** Names in the order of the ids. An id that no account has is left out. */
export interface Authors {
  authors: Array<Author>;
}

export interface Bookmark {
  room_id: number;
  seq: number;
  note: string;
  /** RFC 3339, UTC */
  created_at: string;
}

export interface BookmarkPage {
  bookmarks: Array<BookmarkedMessage>;
  next_cursor: string | null;
}

/** ``message``: null once the room cannot be read. */
export interface BookmarkedMessage {
  room_id: number;
  seq: number;
  note: string;
  /** RFC 3339, UTC */
  created_at: string;
  message: ShownMessage | null;
}

/** The token is shown only once. */
export interface CreatedAccount {
  account_id: number;
  name: string;
  handle: string | null;
  title: string;
  about: string;
  bot: boolean;
  role: "admin" | "bot" | "guest" | "member" | "owner";
  deactivated: boolean;
  is_admin: boolean;
  /** RFC 3339, UTC */
  created_at: string;
  email: string | null;
  token: string;
}

export interface FieldError {
  field: string;
  rule: string;
}

export interface FoundAccounts {
  accounts: Array<Account>;
}

export interface FoundMessages {
  hits: Array<Hit>;
  next_cursor: string | null;
}

/** ``snippet``: the part of the text that was found, in pieces; True marks what was asked for. */
export interface Hit {
  room_id: number;
  message: ShownMessage;
  snippet: Array<[string, boolean]>;
}

/** ``accounts`` and ``rooms``: the id of each ref. ``skipped``: messages that had been imported before. ``left_out``: by room id, how many members of the lines are not in the room, and were not added since members have left it. ``taken``: by the ref of an account, what other accounts have, ``handle``, ``email`` or both: the account came in without it. */
export interface Imported {
  accounts: Record<string, number>;
  rooms: Record<string, number>;
  imported: number;
  skipped: number;
  left_out: Record<string, number>;
  taken: Record<string, Array<string>>;
}

/** ``by``: the account that invites. */
export interface Invitation {
  invitation_id: number;
  role: "admin" | "guest" | "member" | "owner";
  email: string | null;
  rooms: Array<number>;
  uses_left: number;
  /** RFC 3339, UTC */
  expires_at: string;
  /** RFC 3339, UTC */
  created_at: string;
  by: number;
}

export interface InvitationList {
  invitations: Array<Invitation>;
}

/** An invitation as a person sees it who has no account yet. ``rooms``: their names. ``by``: who invites. */
export interface InvitationView {
  role: "admin" | "guest" | "member" | "owner";
  rooms: Array<string>;
  by: string;
  email: string | null;
}

/** The address is shown this once. ``mailed``: the mail server has taken it. */
export interface IssuedInvitation {
  invitation_id: number;
  url: string;
  role: "admin" | "guest" | "member" | "owner";
  uses_left: number;
  /** RFC 3339, UTC */
  expires_at: string;
  mailed: boolean;
}

export interface IssuedToken {
  token_id: number;
  token: string;
  name: string;
  scopes: Array<"admin" | "export" | "read" | "tokens" | "write">;
  expires_at: string | null;
}

export interface LinkOwner {
  name: string;
  has_password: boolean;
}

/** ``password``: without one the account keeps its own, and its other sessions. */
export interface LinkPassword {
  password?: string | null;
  bearer?: boolean;
}

/** An open room. ``members``: how many it has; ``joined``: the caller is one of them. */
export interface ListedRoom {
  room_id: number;
  name: string;
  description: string;
  members: number;
  joined: boolean;
  /** RFC 3339, UTC */
  updated_at: string;
}

export interface ListedRooms {
  rooms: Array<ListedRoom>;
  next_cursor: string | null;
}

/** ``root``: the message that the thread belongs to. */
export interface ListedThread {
  room_id: number;
  kind: "direct" | "group" | "thread";
  name: string;
  description: string;
  role: "admin" | "member" | "readonly" | null;
  last_seq: number;
  /** RFC 3339, UTC */
  created_at: string;
  peer_id: number | null;
  open: boolean;
  default: boolean;
  parent: ThreadParent;
  follows: boolean;
  read_seq: number;
  unread: number;
  mentions: number;
  last_message: ShownMessage | null;
  /** RFC 3339, UTC */
  updated_at: string;
  root: ShownMessage;
}

/** ``scopes``: what the token may do. */
export interface Me {
  account_id: number;
  name: string;
  handle: string | null;
  title: string;
  about: string;
  bot: boolean;
  role: "admin" | "bot" | "guest" | "member" | "owner";
  deactivated: boolean;
  is_admin: boolean;
  /** RFC 3339, UTC */
  created_at: string;
  email: string | null;
  organization_id: number;
  hide_reads: boolean;
  scopes: Array<"admin" | "export" | "read" | "tokens" | "write">;
}

export interface Member {
  account_id: number;
  name: string;
  role: "admin" | "member" | "readonly";
  read_seq: number;
}

export interface MemberRole {
  role: "admin" | "member" | "readonly";
}

export interface Members {
  members: Array<Member>;
  next_cursor: string | null;
}

/** A message as it is now. A deleted message keeps its ``seq`` and has no text. ``reactions``: in the order in which each emoji was first used. ``thread``: null without one. The response to an edit, the last message of a room in a list and the root of a thread in a list leave both out. */
export interface Message {
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
  reactions?: Array<ReactionSummary>;
  thread: ThreadSummary | null;
}

export interface MessageChange {
  /** 1 to 65535 bytes of UTF-8, stored byte for byte */
  text: string;
  mentions?: Array<number> | null;
}

export interface MessageReader {
  account_id: number;
  name: string;
  read_seq: number;
}

export interface MessageReaders {
  readers: Array<MessageReader>;
  next_cursor: string | null;
}

/** Ascending by ``seq``. A page has at most 1 MiB, so there may be fewer than ``limit`` though there are more. */
export interface Messages {
  messages: Array<ShownMessage>;
  has_before: boolean;
  has_after: boolean;
}

/** ``email``: owners and admins only. */
export interface MyProfile {
  /** Stored as NFC. Control characters and characters that change the direction of text are refused. So is a name that is invisible */
  name?: string;
  handle?: string | null;
  email?: string | null;
  title?: string;
  about?: string;
  hide_reads?: boolean;
}

/** ``bot``: the same as the role bot. */
export interface NewAccount {
  /** Stored as NFC. Control characters and characters that change the direction of text are refused. So is a name that is invisible */
  name: string;
  role?: "admin" | "bot" | "guest" | "member" | "owner";
  handle?: string | null;
  email?: string | null;
  title?: string;
  bot?: boolean;
}

export interface NewBookmark {
  note?: string;
}

/** ``rooms``: whose admin the caller is. ``expires_in``: seconds. */
export interface NewInvitation {
  role?: "admin" | "guest" | "member" | "owner";
  email?: string | null;
  rooms?: Array<number>;
  uses?: number;
  expires_in?: number;
}

/** ``mail``: send it to the account's e-mail. */
export interface NewLink {
  mail?: boolean;
}

export interface NewMember {
  account_id: number;
  role?: "admin" | "member" | "readonly";
}

/** ``also_in_room``: of a message in a thread, which is then posted in the thread's room, too. */
export interface NewMessage {
  /** 1 to 65535 bytes of UTF-8, stored byte for byte */
  text: string;
  reply_to?: number | null;
  mentions?: Array<number>;
  also_in_room?: boolean;
}

export interface NewRoom {
  /** Stored as NFC. Control characters and characters that change the direction of text are refused. So is a name that is invisible */
  name: string;
  description?: string;
  members?: Array<NewMember>;
}

/** ``scopes``: by default those of the token that asks. ``expires_in``: seconds; by default a new token ends with the token that asks; one from a session, or from a token without an end, has no end. */
export interface NewToken {
  name?: string;
  scopes?: Array<"admin" | "export" | "read" | "tokens" | "write"> | null;
  expires_in?: number | null;
}

/** ``email``: by default the one that was invited. People sign in with the handle or the e-mail. */
export interface Newcomer {
  /** Stored as NFC. Control characters and characters that change the direction of text are refused. So is a name that is invisible */
  name: string;
  /** 10 to 256 characters, and none of the 10,000 commonest passwords */
  password: string;
  handle?: string | null;
  email?: string | null;
  bearer?: boolean;
}

/** ``current``: needed if the account has a password. */
export interface PasswordChange {
  /** 10 to 256 characters, and none of the 10,000 commonest passwords */
  password: string;
  current?: string | null;
}

/** ``login``: an e-mail or a handle. ``bearer``: answer with the token, and set no cookie. */
export interface PasswordSignIn {
  login: string;
  /** At most 256 characters; a longer one is wrong */
  password: string;
  bearer?: boolean;
}

/** ``pinned_by``: the account that has pinned the message. */
export interface Pin {
  room_id: number;
  seq: number;
  pinned_by: number;
  /** RFC 3339, UTC */
  pinned_at: string;
}

export interface PinnedMessage {
  message: ShownMessage;
  pinned_by: number;
  /** RFC 3339, UTC */
  pinned_at: string;
}

/** The newest pin first. */
export interface Pins {
  pins: Array<PinnedMessage>;
}

/** ``in_room``: the message in the thread's room, if one was asked for. */
export interface PostedMessage {
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
  reactions: Array<ReactionSummary>;
  thread: ThreadSummary | null;
  in_room: number;
}

/** A problem as RFC 9457 describes it. ``code`` is stable: switch on it. ``errors`` names the parts of the request that break a rule. */
export interface ProblemBody {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  errors?: Array<FieldError>;
}

/** An account as it sees itself. */
export interface Profile {
  account_id: number;
  name: string;
  handle: string | null;
  title: string;
  about: string;
  bot: boolean;
  role: "admin" | "bot" | "guest" | "member" | "owner";
  deactivated: boolean;
  is_admin: boolean;
  /** RFC 3339, UTC */
  created_at: string;
  email: string | null;
}

/** An OpenID Connect provider: ``/v1/sign-in/{provider}`` begins there. */
export interface Provider {
  provider: string;
  name: string;
}

/** ``count``: how many accounts have reacted with the emoji. */
export interface ReactionCount {
  room_id: number;
  seq: number;
  emoji: string;
  count: number;
}

export interface ReactionEntry {
  emoji: string;
  account_id: number;
  /** RFC 3339, UTC */
  reacted_at: string;
}

/** How many accounts have reacted with an emoji, and the first of them, in the order in which they did. */
export interface ReactionSummary {
  emoji: string;
  count: number;
  accounts: Array<number>;
}

/** Oldest first. */
export interface Reactions {
  reactions: Array<ReactionEntry>;
  next_cursor: string | null;
}

export interface ReadMark {
  seq: number;
  force?: boolean;
}

export interface ReadState {
  room_id: number;
  read_seq: number;
  unread: number;
  mentions: number;
}

/** ``role`` is the caller's own, null in an open room that the caller has not joined. A direct room has the name of the other account, ``peer_id``. ``open``: everybody but guests may find, read and join the room. ``default``: new accounts are members. Threads alone have ``parent``, and ``follows``: the caller follows the thread; the role is the one in the parent's room. */
export interface Room {
  room_id: number;
  kind: "direct" | "group" | "thread";
  name: string;
  description: string;
  role: "admin" | "member" | "readonly" | null;
  last_seq: number;
  /** RFC 3339, UTC */
  created_at: string;
  peer_id: number | null;
  open: boolean;
  default: boolean;
  parent: ThreadParent;
  follows: boolean;
}

export interface RoomChange {
  /** Stored as NFC. Control characters and characters that change the direction of text are refused. So is a name that is invisible */
  name?: string;
  description?: string;
  open?: boolean;
  default?: boolean;
}

/** A room in the caller's list. */
export interface RoomSummary {
  room_id: number;
  kind: "direct" | "group" | "thread";
  name: string;
  description: string;
  role: "admin" | "member" | "readonly" | null;
  last_seq: number;
  /** RFC 3339, UTC */
  created_at: string;
  peer_id: number | null;
  open: boolean;
  default: boolean;
  parent: ThreadParent;
  follows: boolean;
  read_seq: number;
  unread: number;
  mentions: number;
  last_message: ShownMessage | null;
  /** RFC 3339, UTC */
  updated_at: string;
}

/** A page has at most 1 MiB, so there may be fewer than ``limit`` though there are more. */
export interface Rooms {
  rooms: Array<RoomSummary>;
  next_cursor: string | null;
}

/** ``last_used_at``: to the day, from the day after ``created_at`` on. ``address``: of the client that signed in. ``current``: the request's own. */
export interface Session {
  session_id: number;
  /** RFC 3339, UTC */
  created_at: string;
  last_used_at: string | null;
  user_agent: string;
  address: string;
  current: boolean;
}

export interface Sessions {
  sessions: Array<Session>;
}

/** A message as it is read. ``missing``: the read tables have lost it. It keeps its ``seq``, has no text, and its author_id is 0. */
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
  reactions?: Array<ReactionSummary>;
  thread: ThreadSummary | null;
  missing?: boolean;
}

/** The address is shown this once. ``mailed``: the mail server has taken it. */
export interface SignInLink {
  url: string;
  /** RFC 3339, UTC */
  expires_at: string;
  mailed: boolean;
}

export interface SignInWays {
  password: boolean;
  providers: Array<Provider>;
}

/** ``token``: if the request asked for it; else the answer sets the cookie. */
export interface SignedIn {
  account: Profile;
  session_id: number;
  /** RFC 3339, UTC */
  expires_at: string;
  token: string | null;
}

/** The message that a thread belongs to. */
export interface ThreadParent {
  room_id: number;
  seq: number;
}

/** A message's thread. ``participants``: the first accounts that wrote in it. */
export interface ThreadSummary {
  room_id: number;
  last_seq: number;
  last_at: string | null;
  participants: Array<number>;
}

/** A page has at most 1 MiB, so there may be fewer than ``limit`` though there are more. */
export interface Threads {
  threads: Array<ListedThread>;
  next_cursor: string | null;
}

/** Good for a minute, and once. */
export interface Ticket {
  ticket: string;
}

/** ``last_used_at``: to the day, from the day after ``created_at`` on. */
export interface Token {
  token_id: number;
  /** RFC 3339, UTC */
  created_at: string;
  kind: "session" | "token";
  name: string;
  scopes: Array<"admin" | "export" | "read" | "tokens" | "write">;
  expires_at: string | null;
  last_used_at: string | null;
  issued_by: number | null;
}

export interface Tokens {
  tokens: Array<Token>;
}
