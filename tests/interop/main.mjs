// Commands as lines of JSON on stdin, one answer a line on stdout: {"ok": ...} or {"error": "..."}.
import readline from 'node:readline';
import { Device } from './device.mjs';
import { vectors } from './vectors.mjs';

const device = new Device();
const commands = {
  vectors,
  activate: ({ invitation, password }) => device.activate(invitation, password),
  start: ({ user }) => device.start(user),
  send: ({ conversation, text }) => device.send(conversation, text),
  receive: ({ wanted }) => device.receive(wanted),
  history: ({ conversation }) => device.history(conversation),
  safety_number: ({ user }) => device.safetyNumber(user),
  checks: () => ({ checks: device.checks }),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { command, ...rest } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: await commands[command](rest) };
  } catch (error) {
    answer = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
