// Emoji by their names, for a text that begins with a colon. The names are loaded when the first is wanted.

const SHOWN_MAX = 8;
const LETTERS_MIN = 2; // ":)" and ":D" are no searches
let names = null;

/** The word from a colon to the end of the text, without the colon; null if there is none. */
export function emojiWord(text) {
  const match = /(?:^|[\s(（「、。])[:：]([\p{L}\p{N}_+-]+)$/u.exec(text);
  return match && [...match[1]].length >= LETTERS_MIN ? match[1] : null;
}

/** The emoji with a word that begins so: [emoji, name]. Names in which it is the first word come first. */
export async function findEmoji(word) {
  names ??= fetch(new URL("emoji.json", import.meta.url)).then((answer) => (answer.ok ? answer.json() : Promise.reject(answer)));
  let all;
  try {
    all = await names;
  } catch {
    names = null; // the next letter asks again
    return [];
  }
  const wanted = fold(word);
  const found = [];
  for (const [emoji, its] of Object.entries(all)) {
    const name = its.find((each) => fold(each).startsWith(wanted)) ?? its.find((each) => fold(each).includes(`_${wanted}`));
    if (name) found.push([emoji, name]);
  }
  const place = ([, name]) => [!fold(name).startsWith(wanted), name.length];
  return found.sort((a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1]).slice(0, SHOWN_MAX);
}

const fold = (text) => text.normalize("NFKC").toLocaleLowerCase();
