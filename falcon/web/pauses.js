// The pauses between attempts of this page.

import { backoff as pause } from "./client/patience.js";

export { sleep } from "./client/patience.js";

export const FIRST_MS = 500;
export const LONGEST_MS = 15_000;

export function backoff(failures) {
  return pause(failures, FIRST_MS, LONGEST_MS);
}
