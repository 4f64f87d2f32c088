// Server-Sent Events out of text, by the rules of the HTML standard.

/** One parser for each connection. The text may be cut anywhere: an event is complete with the empty line after it. */
export class Parser {
  #rest = "";
  #afterCr = false;
  #id = "";
  #name = "";
  #data = [];

  /** Yields ``{ id, name, data }``. ``id``: the last one that was given so far. */
  *feed(text) {
    const lines = this.#lines(text);
    for (const line of lines) {
      if (line !== "") {
        this.#field(line);
        continue;
      }
      if (this.#data.length) yield { id: this.#id, name: this.#name || "message", data: this.#data.join("\n") };
      this.#name = "";
      this.#data = [];
    }
  }

  /** The lines that this text completes. A line that ended with CR has ended, whether or not LF follows. */
  #lines(text) {
    const next = this.#afterCr && text.startsWith("\n") ? text.slice(1) : text;
    if (text) this.#afterCr = text.endsWith("\r");
    const lines = (this.#rest + next).split(/\r\n|\n|\r/);
    this.#rest = lines.pop();
    return lines;
  }

  #field(line) {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon); // empty for a comment
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#name = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
  }
}
