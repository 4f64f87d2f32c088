// Splits code into tokens: [text, type or null]. The other files of this folder are of @speed-highlight/core 2.1.0, which is
// in the public domain (LICENSE): tokenize.js, and the languages that highlight.js names, unchanged.

import { tokenizer } from "./tokenize.js";

const languages = new Map();

async function load(name) {
  if (!languages.has(name)) languages.set(name, (await import(`./${name}.js`)).default);
  return languages.get(name);
}

onmessage = async ({ data: { language, text } }) => {
  let tokens = [];
  try {
    await load(language);
    postMessage("began");
    const steps = tokenizer(text, language, (part, type) => part && tokens.push([part, type ?? null]));
    for (let step = steps.next(); !step.done; step = steps.next(await load(step.value)));
  } catch {
    tokens = [[text, null]]; // a language could not be read now
  }
  postMessage(tokens);
};
