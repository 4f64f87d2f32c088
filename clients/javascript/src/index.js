// Falcon's API for JavaScript: see README.md.

export { FalconClient } from "./client.js";
export { Problem, ResumeRefused, Unreachable } from "./errors.js";
export { Names } from "./names.js";
export { EVENTS, Stream } from "./stream.js";
