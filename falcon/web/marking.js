// Puts marks of formatting into the text of the composer. Each change can be undone as if it had been typed.

const CODE_LINES_MIN = 2;
const CODE_SHARE = 0.5; // of the lines that are not empty
const CODE_LINE = /^(?: {2,}|\t)\S|[;{}]\s*$|^\s*(?:def|class|import|from|function|const|let|var|return|public|private|static|func|package|#include|SELECT|INSERT|@\w+|<\/?[a-z][\w-]*[ >])(?!\w)/;
const LIST_LINE = /^\s*(?:[-*•]|\d{1,9}[.)]) /;

/** Puts a mark before and after the selection, or takes it away. Nothing selected: the cursor stands between the marks. */
export function surround(area, mark) {
  const { value } = area;
  let { selectionStart: from, selectionEnd: to } = area;
  while (from < to && /\s/u.test(value[from])) from += 1; // a mark beside a space is text
  while (from < to && /\s/u.test(value[to - 1])) to -= 1;
  const chosen = value.slice(from, to);
  if (chosen && value.slice(from - mark.length, from) === mark && value.slice(to, to + mark.length) === mark) {
    replace(area, from - mark.length, to + mark.length, chosen);
    return area.setSelectionRange(from - mark.length, to - mark.length);
  }
  replace(area, from, to, mark + chosen + mark);
  return area.setSelectionRange(from + mark.length, to + mark.length);
}

/** Puts a mark before each line of the selection. ``mark``: gives it for a line's number, from 1. */
export function markLines(area, mark) {
  const { value, selectionStart, selectionEnd } = area;
  const from = value.lastIndexOf("\n", selectionStart - 1) + 1;
  const next = value.indexOf("\n", Math.max(selectionStart, selectionEnd - 1));
  const to = next < 0 ? value.length : next;
  const lines = value.slice(from, to).split("\n");
  replace(area, from, to, lines.map((line, n) => mark(n + 1) + line).join("\n"));
}

/** Replaces the selection by a block of code. Without ``code`` the selection becomes one. */
export function insertCode(area, code = null, language = "") {
  const { value, selectionStart: from, selectionEnd: to } = area;
  const before = from === 0 || value[from - 1] === "\n" ? "" : "\n";
  const text = code ?? value.slice(from, to);
  const block = `${before}\`\`\`${language}\n${text}${text.endsWith("\n") ? "" : "\n"}\`\`\`${value[to] === "\n" ? "" : "\n"}`;
  replace(area, from, to, block);
  if (!text) area.setSelectionRange(from + before.length + 4, from + before.length + 4);
}

/** The language and text of code that is being pasted; null if it is something else, or comes into a block of code. */
export function pastedCode(area, clipboard) {
  const text = clipboard.getData("text/plain").replaceAll("\r\n", "\n");
  const fences = area.value.slice(0, area.selectionStart).match(/^ {0,3}```/gm) ?? [];
  if (!text.trim().includes("\n") || text.includes("```") || fences.length % 2) return null;
  const editor = clipboard.getData("vscode-editor-data");
  if (editor) return { text, language: languageOf(editor) };
  const lines = text.split("\n").filter((line) => line.trim());
  const like = lines.filter((line) => CODE_LINE.test(line) && !LIST_LINE.test(line));
  return like.length >= CODE_LINES_MIN && like.length >= lines.length * CODE_SHARE ? { text, language: "" } : null;
}

function languageOf(editor) {
  try {
    const { mode } = JSON.parse(editor);
    return /^[\w+#.-]{1,32}$/.test(mode) && mode !== "plaintext" ? mode : "";
  } catch {
    return "";
  }
}

function replace(area, from, to, text) {
  area.focus();
  area.setSelectionRange(from, to);
  // The only way that leaves the change to the browser's undo. Where it is gone the change is made without.
  if (document.execCommand("insertText", false, text)) return;
  area.setRangeText(text, from, to, "end");
  area.dispatchEvent(new Event("input", { bubbles: true }));
}
