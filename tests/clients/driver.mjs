// Runs the JavaScript client as the tests say: one JSON object a line comes in, and each is answered with one.

import { createInterface } from "node:readline";

import { FalconClient, Names, Problem, Unreachable } from "../../clients/javascript/src/index.js";

const clients = new Map();
const streams = new Map();

const DOES = {
  open({ client, urls, token, options }) {
    clients.set(client, new FalconClient(urls, token, options));
  },

  close({ client }) {
    clients.get(client).close();
  },

  call({ client, method, args }) {
    return clients.get(client)[method](...args);
  },

  async collect({ client, method, args }) {
    const found = [];
    for await (const each of clients.get(client)[method](...args)) found.push(each);
    return found;
  },

  name({ client, room, account }) {
    return new Names(clients.get(client)).of(room, account);
  },

  position({ client }) {
    return clients.get(client).position;
  },

  listen({ client, stream, options }) {
    streams.set(stream, clients.get(client).stream(options));
  },

  async next({ stream }) {
    const { done, value } = await streams.get(stream).next();
    return done ? {} : value;
  },

  watch({ stream, accounts }) {
    streams.get(stream).watch(accounts);
  },

  passes({ ms }) {
    for (const clock of [Date, performance]) {
      const before = clock.now.bind(clock);
      clock.now = () => before() + ms;
    }
  },

  async collectGarbage() {
    for (let n = 0; n < 20; n++) {
      globalThis.gc();
      await new Promise(setImmediate);
    }
  },

  leave({ stream }) {
    streams.get(stream).close();
  },
};

async function answer(line) {
  const { id, does, ...request } = JSON.parse(line);
  try {
    return { id, value: (await DOES[does](request)) ?? null };
  } catch (error) {
    if (error instanceof Problem) {
      const { status, code, detail, errors } = error;
      return { id, name: error.name, problem: { status, code, detail, errors } };
    }
    if (error instanceof Unreachable) return { id, unreachable: { key: error.key, detail: error.message } };
    return { id, fault: error.stack };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  void answer(line).then((said) => process.stdout.write(`${JSON.stringify(said)}\n`));
}
process.exit(0);
