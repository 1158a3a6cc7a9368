// hello in JavaScript for Node.js, with blocking calls: the event loop has nothing to do here.
"use strict";
const fs = require("fs");

function respond(line) {
  let request;
  try {
    request = JSON.parse(line);
  } catch (error) {
    return { error: "not a request" };
  }
  if (request === null || typeof request.name !== "string" || request.name.length > 64) {
    return { error: "name: a string is wanted" };
  }
  return { text: `Hello, ${request.name}!` };
}

const device = fs.openSync(process.env.STASIS_DEVICE || "/dev/stasis", "r+");
const buffer = Buffer.alloc(65536);
let chunks = [];
for (;;) {
  const length = fs.readSync(device, buffer);
  if (length === 0) break;
  chunks.push(Buffer.from(buffer.subarray(0, length)));
  if (buffer[length - 1] !== 0x0a) continue;
  const line = Buffer.concat(chunks).toString("utf8");
  chunks = [];
  const response = Buffer.from(JSON.stringify(respond(line)) + "\n");
  for (let written = 0; written < response.length;) {
    written += fs.writeSync(device, response, written);
  }
}
