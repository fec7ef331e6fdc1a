// A room on mediasoup behind a small HTTP API, for one run: node host.mjs --listen ADDRESS --port PORT
// Writes one line of JSON once it is ready: its address, and the process of the worker.

import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import * as mediasoup from 'mediasoup';

import { CODECS, Refused, Room } from './api.mjs';

const MAX_BODY = 256 * 1024;

const { values } = parseArgs({
  options: {
    listen: { type: 'string', default: '127.0.0.1' },
    announced: { type: 'string' },
    port: { type: 'string', default: '0' },
  },
});

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

async function startWorker() {
  try {
    return await mediasoup.createWorker({ logLevel: 'warn' });
  } catch (error) {
    fail(`mediasoup ${mediasoup.version} has no worker that starts (${error.message}); npm install builds or fetches it`);
  }
}

async function readBody(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > MAX_BODY) throw new Refused(413, `a body has at most ${MAX_BODY} bytes`);
    parts.push(part);
  }
  if (length === 0) return {};
  try {
    return JSON.parse(Buffer.concat(parts).toString());
  } catch (error) {
    throw new Refused(400, `the body is no JSON: ${error.message}`);
  }
}

async function answer(room, request, response) {
  let status = 200;
  let body;
  try {
    body = await room.handle(request.method, request.url, await readBody(request));
  } catch (error) {
    // mediasoup throws TypeError for parameters it cannot take
    status = error instanceof Refused ? error.status : error instanceof TypeError ? 400 : 500;
    body = { error: error.message };
  }
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(body));
}

const worker = await startWorker();
worker.on('died', (error) => fail(`the worker died: ${error.message}`));
const router = await worker.createRouter({ mediaCodecs: CODECS });
const room = new Room(router, { protocol: 'udp', ip: values.listen, announcedAddress: values.announced });
const server = createServer((request, response) => void answer(room, request, response));
server.listen(Number(values.port), values.listen, () => {
  const { port } = server.address();
  const host = values.listen.includes(':') ? `[${values.listen}]` : values.listen;
  process.stdout.write(`${JSON.stringify({ url: `http://${host}:${port}`, worker: worker.pid })}\n`);
});
process.on('SIGTERM', () => process.exit(0));
