import { FalconClient } from "./client/index.js";

// After so long a person wants to know that it did not work.
const TIMEOUT_MS = 8_000;
// A page of messages may come slowly over a bad network.
const ATTEMPT_MS = 15_000;

/** The client for one account. An answer that is a little old is better here than none. */
export function connect(token) {
  return new FalconClient(location.origin, token, { timeoutMs: TIMEOUT_MS, attemptMs: ATTEMPT_MS, readOwnWrites: "briefly" });
}
