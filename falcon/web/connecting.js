import { FalconClient } from "./client/index.js";

// After this time a person wants to know that it failed.
const TIMEOUT_MS = 8_000;
// A page of messages may take long over a bad network.
const ATTEMPT_MS = 15_000;

/** The client for one account. It accepts slightly old answers, which are better here than none. */
export function connect(token) {
  return new FalconClient(location.origin, token, { timeoutMs: TIMEOUT_MS, attemptMs: ATTEMPT_MS, readOwnWrites: "briefly" });
}
