import type {
  Bookmark,
  BookmarkPage,
  MessageReaders,
  Account,
  AccountChange,
  Accounts,
  Author,
  CreatedAccount,
  FieldError,
  FoundMessages,
  Invitation,
  InvitationList,
  InvitationView,
  IssuedInvitation,
  IssuedToken,
  LinkOwner,
  Me,
  Member,
  ListedRooms,
  Members,
  Message,
  Messages,
  MyProfile,
  NewAccount,
  NewMember,
  NewToken,
  Pin,
  Pins,
  PostedMessage,
  ReactionCount,
  Reactions,
  ReadState,
  Room,
  Rooms,
  RoomChange,
  Session,
  ShownMessage,
  SignedIn,
  SignInLink,
  SignInWays,
  Threads,
  Token,
} from "./api.js";
import type { Event } from "./events.js";

export type * from "./api.js";
export type { Event, EventData, EventType } from "./events.js";

export type Role = Member["role"];

export interface ClientOptions {
  /** How long a call continues, its retries included; 30,000 by default. */
  timeoutMs?: number;
  /** How long one attempt may take; by default a third of ``timeoutMs``, and never longer than that. */
  attemptMs?: number;
  /**
   * true, the default: a read waits until it can see everything that this client has written. "briefly": for ten
   * seconds after a write, and not after a failed read. false: reads do not wait.
   */
  readOwnWrites?: boolean | "briefly";
  /** Called with what each failed attempt met, also if it is retried. */
  onFailure?: ((failure: Error) => void) | null;
  /** Instead of the global ``fetch``. */
  fetch?: typeof fetch;
}

export interface CallOptions {
  /** Instead of the client's ``timeoutMs``. */
  timeoutMs?: number;
  /** false: one attempt; Unreachable says what it met. */
  retry?: boolean;
  signal?: AbortSignal;
}

export interface CommandOptions extends CallOptions {
  /** The idempotency key: 1 to 64 visible ASCII characters. By default each call makes one. */
  key?: string;
}

export interface PageOptions extends CallOptions {
  limit?: number;
  cursor?: string | null;
}

/**
 * The server no longer has the history of the stream, because it was restored from a copy; ``hello`` comes next. Messages
 * that you have seen may be gone, and others may have their ``seq``: read again what you keep. The client makes this event.
 */
export interface Restarted {
  type: "restarted";
  data: Record<string, never>;
  id: "";
}

export interface StreamState {
  state: "connecting" | "connected" | "offline";
  /** When offline: a code of Problem, the reason of a ``bye``, or "silent", "network", "unreachable", "closed". */
  why?: string;
  /** When offline: the time of the next attempt, in milliseconds since 1970. */
  until?: number;
}

export interface StreamOptions {
  rooms?: Iterable<number>;
  /** The id of the last event that was processed. */
  resume?: string | null;
  signals?: Iterable<"typing" | "presence" | "accounts">;
  /** The accounts whose presence to tell, at most 500. */
  watch?: Iterable<number>;
  onState?: (state: StreamState) => void;
  firstPauseMs?: number;
  longestPauseMs?: number;
}

/** Falcon's API for one account. Each method throws Problem and Unreachable. */
export class FalconClient {
  /** ``urls``: one address or several of the same deployment. Throws TypeError for an address or token that cannot be one. */
  constructor(urls: string | readonly string[], token: string | (() => string) | null, options?: ClientOptions);
  readonly position: string;
  onFailure: ((failure: Error) => void) | null;
  close(): void;

  me(options?: CallOptions): Promise<Me>;
  signOut(options?: CommandOptions): Promise<void>;
  changeMe(changes: MyProfile, options?: CommandOptions): Promise<Account>;
  createAccount(name: string, options?: Omit<NewAccount, "name"> & CommandOptions): Promise<CreatedAccount>;
  accountsOf(accountIds: Iterable<number>, options?: CallOptions): Promise<Account[]>;
  searchAccounts(q: string, options?: { room?: number; limit?: number } & CallOptions): Promise<Account[]>;
  accounts(options?: { role?: Account["role"]; deactivated?: boolean } & PageOptions): Promise<Accounts>;
  account(accountId: number, options?: CallOptions): Promise<Account>;
  changeAccount(accountId: number, changes: AccountChange, options?: CommandOptions): Promise<Account>;
  createToken(accountId: number, options?: NewToken & CommandOptions): Promise<IssuedToken>;
  tokens(accountId: number, options?: CallOptions): Promise<Token[]>;
  revokeToken(accountId: number, tokenId: number, options?: CommandOptions): Promise<void>;

  waysToSignIn(options?: CallOptions): Promise<SignInWays>;
  signIn(login: string, password: string, options?: CallOptions & { bearer?: boolean }): Promise<SignedIn>;
  setPassword(password: string, options?: CommandOptions & { current?: string }): Promise<void>;
  sessions(options?: CallOptions): Promise<Session[]>;
  endSession(sessionId: number, options?: CommandOptions): Promise<void>;
  endOtherSessions(options?: CommandOptions): Promise<void>;
  endCurrentSession(options?: CommandOptions): Promise<void>;
  signOutEverywhere(accountId: number, options?: CommandOptions): Promise<void>;
  createSignInLink(accountId: number, options?: CommandOptions & { mail?: boolean }): Promise<SignInLink>;
  signInLink(code: string, options?: CallOptions): Promise<LinkOwner>;
  useSignInLink(code: string, password?: string, options?: CallOptions & { bearer?: boolean }): Promise<SignedIn>;

  createInvitation(
    options?: CommandOptions & { role?: Invitation["role"]; email?: string; rooms?: readonly number[]; uses?: number; expiresIn?: number },
  ): Promise<IssuedInvitation>;
  invitations(options?: CallOptions): Promise<InvitationList>;
  deleteInvitation(invitationId: number, options?: CommandOptions): Promise<void>;
  readInvitation(code: string, options?: CallOptions): Promise<InvitationView>;
  acceptInvitation(code: string, name: string, password: string, options?: CallOptions & { handle?: string; email?: string; bearer?: boolean }): Promise<SignedIn>;

  createRoom(name: string, options?: CommandOptions & { description?: string; members?: readonly NewMember[] }): Promise<Room>;
  directRoom(accountId: number, options?: CommandOptions): Promise<Room>;
  rooms(options?: PageOptions): Promise<Rooms>;
  openRooms(options?: { q?: string } & PageOptions): Promise<ListedRooms>;
  room(roomId: number, options?: CallOptions): Promise<Room>;
  changeRoom(roomId: number, changes: RoomChange, options?: CommandOptions): Promise<Room>;
  deleteRoom(roomId: number, options?: CommandOptions): Promise<void>;
  members(roomId: number, options?: PageOptions): Promise<Members>;
  authors(roomId: number, accountIds: Iterable<number>, options?: CallOptions): Promise<Author[]>;
  putMember(roomId: number, accountId: number, role: Role, options?: CommandOptions): Promise<Member>;
  removeMember(roomId: number, accountId: number, options?: CommandOptions): Promise<void>;

  post(roomId: number, text: string, options?: CommandOptions & { replyTo?: number; mentions?: readonly number[]; alsoInRoom?: boolean }): Promise<PostedMessage>;
  messages(roomId: number, options?: CallOptions & { limit?: number; before?: number | null; after?: number | null; around?: number | null }): Promise<Messages>;
  message(roomId: number, seq: number, options?: CallOptions): Promise<ShownMessage>;
  /** The messages after ``after``, page by page; with ``upTo`` until that ``seq`` has come. */
  history(roomId: number, options?: CallOptions & { after?: number; upTo?: number | null }): AsyncGenerator<ShownMessage, void, void>;
  edit(roomId: number, seq: number, text: string, options?: CommandOptions & { mentions?: readonly number[] }): Promise<Message>;
  deleteMessage(roomId: number, seq: number, options?: CommandOptions): Promise<void>;
  addReaction(roomId: number, seq: number, emoji: string, options?: CommandOptions): Promise<ReactionCount>;
  removeReaction(roomId: number, seq: number, emoji: string, options?: CommandOptions): Promise<void>;
  reactions(roomId: number, seq: number, options?: PageOptions & { emoji?: string }): Promise<Reactions>;
  search(
    q: string,
    options?: {
      room?: number; from?: number; mentions?: "me"; has?: "file" | "link"; after?: string; before?: string;
      sort?: "newest" | "relevance";
    } & PageOptions,
  ): Promise<FoundMessages>;
  setBookmark(roomId: number, seq: number, options?: CommandOptions & { note?: string }): Promise<Bookmark>;
  removeBookmark(roomId: number, seq: number, options?: CommandOptions): Promise<void>;
  bookmarks(options?: PageOptions): Promise<BookmarkPage>;
  readers(roomId: number, seq: number, options?: PageOptions): Promise<MessageReaders>;
  thread(roomId: number, seq: number, options?: CommandOptions): Promise<Room>;
  follow(threadId: number, options?: CommandOptions): Promise<void>;
  unfollow(threadId: number, options?: CommandOptions): Promise<void>;
  threads(options?: PageOptions & { unread?: boolean }): Promise<Threads>;
  addPin(roomId: number, seq: number, options?: CommandOptions): Promise<Pin>;
  removePin(roomId: number, seq: number, options?: CommandOptions): Promise<void>;
  pins(roomId: number, options?: CallOptions): Promise<Pins>;
  markRead(roomId: number, seq: number, options?: CommandOptions & { force?: boolean }): Promise<ReadState>;

  sayTyping(roomId: number, options?: CommandOptions): Promise<void>;
  stream(options?: StreamOptions): Stream;
}

/** What happens, each event once and in order, over broken connections and restarts. A refusal is thrown as Problem,
 * one of the given ``resume`` as ResumeRefused. */
export class Stream implements AsyncIterableIterator<Event | Restarted> {
  /** The id of the last event that was handed out. */
  readonly id: string | null;
  [Symbol.asyncIterator](): this;
  next(): Promise<IteratorResult<Event | Restarted, undefined>>;
  return(): Promise<IteratorResult<Event | Restarted, undefined>>;
  close(): void;
  /** Do not wait for the next attempt, and reconnect if the connection has been silent for a while. */
  nudge(): void;
  /** Watch these accounts from now on, instead of those before, over another connection. No event is lost. */
  watch(accountIds: Iterable<number>): void;
  /** Go on over another connection. No event is lost. */
  reconnect(reason?: string): void;
}

/** The names of the events that this client knows. */
export const EVENTS: readonly Event["type"][];

/** Names for account ids, also of accounts that have left the room. */
export class Names {
  constructor(falcon: FalconClient);
  learn(roomId: number, messages: readonly { author_id: number }[]): Promise<void>;
  of(roomId: number, accountId: number): Promise<string>;
}

/** The server refused the request, and would refuse it again. */
export class Problem extends Error {
  constructor(status: number, code: string, detail: string, more?: { errors?: readonly FieldError[]; retryAfterMs?: number | null });
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly errors: readonly FieldError[];
  readonly retryAfterMs: number | null;
}

/**
 * The server does not have the history that the given ``resume`` continues: it was restored from a copy, or is another
 * one. Start a stream without ``resume``, and read again what you keep.
 */
export class ResumeRefused extends Problem {}

/** No answer before the deadline. It is unknown whether a command was executed: retry it with the same ``key``. */
export class Unreachable extends Error {
  readonly last: Error;
  readonly key: string | null;
  readonly retryAfterMs: number | null;
}
