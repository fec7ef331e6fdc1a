// One participant of a call with unmodified mediasoup-client and socket.io-client: produces fake camera and
// microphone, consumes all others, and reports what the browser's own statistics say to the test.
import { Device } from 'mediasoup-client';
import { io } from 'socket.io-client';

const config = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const room = `/api/rooms/${config.callId}`;
const state = { participantId: config.participantId, phase: 'starting', errors: [], speakers: 0, closed: [] };
const consumers = new Map();
const consumed = new Set();
let device, send, recv;
const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

async function api(method, path, body) {
  const response = await fetch(config.server + path, {
    method,
    headers: { Authorization: `Bearer ${config.token}`, 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await response.json();
  if (!answer.success) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer.error)}`);
  return answer.data;
}

function failed(where) {
  return (error) => { state.errors.push(`${where}: ${error && error.message ? error.message : error}`); };
}

async function transport(direction) {
  const parameters = await api('POST', `${room}/transports`, {
    participantId: config.participantId, direction, forceTcp: Boolean(config.forceTcp),
  });
  const options = { ...parameters, id: parameters.transportId };
  const made = direction === 'send' ? device.createSendTransport(options) : device.createRecvTransport(options);
  made.on('connect', ({ dtlsParameters }, ok, bad) => {
    api('POST', `${room}/transports/${made.id}/connect`, { dtlsParameters }).then(ok, bad);
  });
  made.on('connectionstatechange', (now) => { state[`${direction}State`] = now; });
  if (direction === 'send') {
    made.on('produce', async ({ kind, rtpParameters, appData }, ok, bad) => {
      // The browser sends from here on; a slow way to the server delays only what the server knows of it.
      if (kind === 'video') await pause(config.produceDelayMs ?? 0);
      api('POST', `${room}/transports/${made.id}/produce`, {
        participantId: config.participantId, kind, rtpParameters, appData,
      }).then(({ producerId }) => ok({ id: producerId }), bad);
    });
  }
  return made;
}

async function consume({ producerId, participantId }) {
  if (participantId === config.participantId || consumed.has(producerId)) return;
  consumed.add(producerId);
  const answer = await api('POST', `${room}/consume`, {
    participantId: config.participantId, producerId, rtpCapabilities: device.rtpCapabilities,
  });
  const consumer = await recv.consume({
    id: answer.consumerId, producerId, kind: answer.kind, rtpParameters: answer.rtpParameters,
  });
  consumers.set(consumer.id, consumer);
  // A track without a media element is not decoded: attach each to one, as a page would.
  const element = document.createElement(answer.kind);
  element.autoplay = true; element.muted = answer.kind === 'video'; element.playsInline = true;
  element.srcObject = new MediaStream([consumer.track]);
  document.body.append(element);
  await api('POST', `${room}/consumers/${consumer.id}/resume`);
}

async function statistics() {
  const outbound = [], inbound = [];
  let availableOutgoingBitrate = 0;
  if (send) {
    for (const report of (await send.getStats()).values()) {
      if (report.type === 'candidate-pair' && report.nominated) {
        availableOutgoingBitrate = report.availableOutgoingBitrate ?? 0;
        state.sendProtocol = report.localCandidateId && (await send.getStats()).get(report.localCandidateId)?.protocol;
      }
      if (report.type === 'outbound-rtp') {
        outbound.push({
          kind: report.kind, packetsSent: report.packetsSent, bytesSent: report.bytesSent,
          framesEncoded: report.framesEncoded, keyFramesEncoded: report.keyFramesEncoded,
          pliCount: report.pliCount, nackCount: report.nackCount, frameWidth: report.frameWidth,
          targetBitrate: report.targetBitrate,
        });
      }
      if (report.type === 'remote-inbound-rtp') {
        outbound.push({ kind: `${report.kind} remote`, roundTripTime: report.roundTripTime, packetsLost: report.packetsLost });
      }
    }
  }
  for (const consumer of consumers.values()) {
    for (const report of (await consumer.getStats()).values()) {
      if (report.type === 'inbound-rtp') {
        inbound.push({
          kind: report.kind, producerId: consumer.producerId, packetsReceived: report.packetsReceived,
          packetsLost: report.packetsLost, framesDecoded: report.framesDecoded ?? 0, freezeCount: report.freezeCount ?? 0,
          totalFreezesDuration: report.totalFreezesDuration ?? 0, totalAudioEnergy: report.totalAudioEnergy ?? 0,
          codec: consumer.rtpParameters.codecs[0].mimeType, framesReceived: report.framesReceived ?? 0,
          frameWidth: report.frameWidth ?? 0,
        });
      }
    }
  }
  return { ...state, outbound, inbound, availableOutgoingBitrate };
}

async function report() {
  const body = await statistics().catch((error) => ({ ...state, errors: [...state.errors, String(error)] }));
  const answer = await fetch('/report', { method: 'POST', body: JSON.stringify(body) }).catch(() => undefined);
  const order = answer && (await answer.json().catch(() => ({}))).order;
  if (order === 'restart-ice') await restartIce().catch(failed('restart-ice'));
  setTimeout(report, 400);
}

async function restartIce() {
  for (const made of [send, recv]) {
    if (!made) continue;
    const { iceParameters } = await api('POST', `${room}/transports/${made.id}/restart-ice`);
    await made.restartIce({ iceParameters });
  }
  state.restarted = true;
}

async function start() {
  report();
  const { rtpCapabilities } = await api('GET', room);
  device = await Device.factory();
  await device.load({ routerRtpCapabilities: rtpCapabilities });
  state.phase = 'loaded';
  if (config.consume) recv = await transport('recv');
  const socket = io(config.server, { auth: { token: config.token }, transports: ['websocket'] });
  let order = Promise.resolve();
  let resume = false; // a socket that comes back by itself goes on with what there is
  socket.on('connect', () => {
    socket.emit('join-room', { callId: config.callId, participantId: config.participantId, resume });
    resume = true;
  });
  socket.on('connect_error', failed('socket'));
  socket.on('new-producer', (event) => { if (config.consume) order = order.then(() => consume(event)).catch(failed('consume')); });
  socket.on('producer-closed', ({ producerId }) => { state.closed.push(producerId); });
  socket.on('active-speaker', () => { state.speakers += 1; });
  if (config.produce) {
    send = await transport('send');
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 1280, height: 720 } });
    const audio = { track: stream.getAudioTracks()[0], appData: { source: 'microphone' } };
    if (!config.videoOnly) await send.produce(audio);
    await pause(config.videoAfterMs ?? 0);
    const codec = device.sendRtpCapabilities.codecs.find((c) => c.mimeType.toLowerCase() === config.videoCodec.toLowerCase());
    if (!codec) throw new Error(`this browser cannot send ${config.videoCodec}`);
    const options = { track: stream.getVideoTracks()[0], codec, appData: { source: 'camera' } };
    if (config.startBitrate) options.codecOptions = { videoGoogleStartBitrate: config.startBitrate };
    const begun = performance.now();
    await send.produce(options);
    if (config.estimateAfterMs) {
      await pause(config.estimateAfterMs - (performance.now() - begun));
      state.estimate = (await statistics()).availableOutgoingBitrate;
    }
  }
  state.phase = 'running';
}

start().catch(failed('start'));
