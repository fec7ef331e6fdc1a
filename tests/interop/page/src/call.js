// People in calls of the gateway, as a web client has them: RTCPeerConnection while there are two, unmodified
// mediasoup-client from three on, and from one to the other as docs/gateway.md says. The test gives orders (initiate,
// join, leave) and gets what the browser's own statistics say.
import { Device } from 'mediasoup-client';
import { io } from 'socket.io-client';

const config = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const KINDS = ['audio', 'video'];
const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

class Participant {
  constructor({ name, token }) {
    this.name = name;
    this.token = token;
    this.state = { participantId: name, id: '', callId: '', mode: '', errors: [], switched: [] };
    this.iceServers = [];
    this.peer = null; // { id, pc, arrived }
    this.sfu = null;
    this.order = Promise.resolve();
  }

  async start() {
    this.report();
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 240, frameRate: 15 } });
    this.socket = io(config.gateway, { auth: { token: this.token }, transports: ['websocket'] });
    this.socket.on('connect_error', this.failed('gateway'));
    const events = ['call:participant-joined', 'call:signal', 'call:mode-switch', 'call:mode-switched', 'new-producer'];
    for (const event of events) {
      this.socket.on(event, (payload) => {
        this.order = this.order.then(() => this.take(event, payload)).catch(this.failed(event));
      });
    }
    await new Promise((done) => { this.socket.on('connect', done); });
    this.state.connected = true;
  }

  failed(where) {
    return (error) => { this.state.errors.push(`${where}: ${error && error.message ? error.message : error}`); };
  }

  async ask(event, payload) {
    const answer = await this.socket.timeout(10000).emitWithAck(event, payload);
    if (!answer.success) throw new Error(`${event}: ${JSON.stringify(answer.error)}`);
    return answer.data;
  }

  async obey({ what, callId }) {
    if (what === 'initiate') await this.enter(this.ask('call:initiate', { conversationId: 'c', type: 'video' }));
    if (what === 'join') await this.enter(this.ask('call:join', { callId }));
    if (what === 'leave') {
      await this.ask('call:leave', { callId: this.state.callId });
      this.dropPeer();
      this.dropSfu();
      this.state.mode = 'left';
    }
  }

  async enter(asking) {
    const answer = await asking;
    Object.assign(this.state, { callId: answer.callId, id: answer.participantId, mode: answer.mode });
    this.iceServers = answer.iceServers;
    if (answer.mode === 'sfu') this.buildSfu(answer, answer.producers.map((p) => p.participantId)).catch(this.failed('sfu'));
  }

  async take(event, payload) {
    if (payload.iceServers) this.iceServers = payload.iceServers;
    if (event === 'call:participant-joined' && payload.initiator && payload.mode === 'p2p') {
      await this.offer(payload.participant.participantId);
    } else if (event === 'call:signal') {
      await this.signalled(payload.signal);
    } else if (event === 'call:mode-switch') {
      const build = payload.newMode === 'sfu' ? this.buildSfu(payload, this.peer ? [this.peer.id] : []) : this.buildPeer(payload);
      build.catch(this.failed(payload.newMode));
    } else if (event === 'call:mode-switched') {
      this.state.mode = payload.mode;
      this.state.switched.push({ mode: payload.mode, epoch: payload.epoch, success: payload.success, durationMs: payload.durationMs });
      if (payload.mode === 'sfu') this.dropPeer(); else this.dropSfu();
    } else if (event === 'new-producer' && this.sfu) {
      this.consume(this.sfu, payload);
    }
  }

  confirm(mode, epoch, more) {
    return this.ask('call:mode-switched', { callId: this.state.callId, mode, epoch, success: true, ...more });
  }

  // ---- peer to peer

  signal(to, fields) {
    return this.ask('call:signal', { callId: this.state.callId, signal: { from: this.state.id, to, ...fields } });
  }

  connection(id) {
    this.dropPeer();
    const pc = new RTCPeerConnection({
      iceServers: this.iceServers, iceTransportPolicy: config.iceTransportPolicy, bundlePolicy: 'max-bundle',
    });
    for (const track of this.stream.getTracks()) pc.addTrack(track, this.stream);
    pc.ontrack = ({ track }) => show(track);
    pc.onicecandidate = ({ candidate }) => {
      if (candidate && candidate.candidate) {
        this.signal(id, { type: 'ice-candidate', candidate: candidate.toJSON() }).catch(this.failed('candidate'));
      }
    };
    this.peer = { id, pc };
    return pc;
  }

  async offer(id) {
    const pc = this.connection(id);
    await pc.setLocalDescription();
    await this.signal(id, { type: 'offer', sdp: pc.localDescription.sdp });
  }

  async signalled({ type, from, sdp, candidate }) {
    if (type === 'offer') {
      const pc = this.connection(from);
      await pc.setRemoteDescription({ type, sdp });
      await pc.setLocalDescription();
      await this.signal(from, { type: 'answer', sdp: pc.localDescription.sdp });
    } else if (this.peer && this.peer.id === from) {
      if (type === 'answer') await this.peer.pc.setRemoteDescription({ type, sdp });
      else if (candidate) await this.peer.pc.addIceCandidate(typeof candidate === 'string' ? { candidate, sdpMid: '0' } : candidate);
    }
  }

  async buildPeer({ peer, initiator, epoch }) {
    if (peer) {
      if (initiator) await this.offer(peer);
      while (!this.peer || this.peer.id !== peer || !flowing(await inbound(this.peer.pc))) await pause(50);
    }
    await this.confirm('p2p', epoch);
  }

  dropPeer() {
    if (this.peer) this.peer.pc.close();
    this.peer = null;
  }

  // ---- through the media server

  async buildSfu({ rtpCapabilities, mediaServerUrl, mediaToken, producers, epoch }, wanted) {
    this.dropSfu();
    const sfu = { url: mediaServerUrl, token: mediaToken, consumers: new Map(), known: new Set(), ids: {} };
    this.sfu = sfu;
    sfu.device = await Device.factory();
    await sfu.device.load({ routerRtpCapabilities: rtpCapabilities });
    sfu.recv = await this.transport(sfu, 'recv');
    sfu.send = await this.transport(sfu, 'send');
    for (const producer of producers) this.consume(sfu, producer);
    for (const track of this.stream.getTracks()) {
      const codec = track.kind === 'video' ? sfu.device.sendRtpCapabilities.codecs.find((c) => c.mimeType === 'video/VP8') : undefined;
      // The track goes on when the call changes back: mediasoup-client must not stop it.
      const made = await sfu.send.produce({ track, codec, stopTracks: false });
      sfu.ids[track.kind] = made.id;
    }
    while (this.sfu === sfu) {
      const found = await this.received(sfu);
      if (wanted.every((id) => flowing(found.filter((stream) => stream.from === id)))) break;
      await pause(50);
    }
    if (this.sfu === sfu) {
      await this.confirm('sfu', epoch, {
        sfuSendTransportId: sfu.send.id, sfuRecvTransportId: sfu.recv.id, producerIds: sfu.ids,
      });
    }
  }

  async api(sfu, method, path, body) {
    const response = await fetch(`${sfu.url}/api/rooms/${this.state.callId}${path}`, {
      method,
      headers: { Authorization: `Bearer ${sfu.token}`, 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const answer = await response.json();
    if (!answer.success) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer.error)}`);
    return answer.data;
  }

  async transport(sfu, direction) {
    const participantId = this.state.id;
    const parameters = await this.api(sfu, 'POST', '/transports', { participantId, direction });
    const options = {
      ...parameters, id: parameters.transportId, iceServers: this.iceServers, iceTransportPolicy: config.iceTransportPolicy,
    };
    const made = direction === 'send' ? sfu.device.createSendTransport(options) : sfu.device.createRecvTransport(options);
    made.on('connect', ({ dtlsParameters }, ok, bad) => {
      this.api(sfu, 'POST', `/transports/${made.id}/connect`, { dtlsParameters }).then(ok, bad);
    });
    if (direction === 'send') {
      made.on('produce', ({ kind, rtpParameters, appData }, ok, bad) => {
        this.api(sfu, 'POST', `/transports/${made.id}/produce`, { participantId, kind, rtpParameters, appData })
          .then(({ producerId }) => ok({ id: producerId }), bad);
      });
    }
    return made;
  }

  consume(sfu, { producerId, participantId }) {
    if (participantId === this.state.id || sfu.known.has(producerId)) return;
    sfu.known.add(producerId);
    sfu.queue = (sfu.queue ?? Promise.resolve()).then(async () => {
      while (!sfu.recv) await pause(20);
      const answer = await this.api(sfu, 'POST', '/consume', {
        participantId: this.state.id, producerId, rtpCapabilities: sfu.device.recvRtpCapabilities,
      });
      const consumer = await sfu.recv.consume({
        id: answer.consumerId, producerId, kind: answer.kind, rtpParameters: answer.rtpParameters,
      });
      sfu.consumers.set(consumer, participantId);
      show(consumer.track);
      await this.api(sfu, 'POST', `/consumers/${consumer.id}/resume`);
    }).catch((error) => { if (this.sfu === sfu) this.failed('consume')(error); });
  }

  async received(sfu) {
    const found = [];
    for (const [consumer, from] of sfu.consumers) {
      for (const stream of await inbound(consumer)) found.push({ ...stream, from });
    }
    return found;
  }

  dropSfu() {
    if (this.sfu && this.sfu.send) this.sfu.send.close();
    if (this.sfu && this.sfu.recv) this.sfu.recv.close();
    this.sfu = null;
  }

  // ---- what the test sees

  async statistics() {
    const { peer, sfu } = this;
    return {
      ...this.state,
      p2p: peer && { ...(await selected(peer.pc)), inbound: await inbound(peer.pc), heard: await heard(peer.pc) },
      sfu: sfu && sfu.send && {
        send: await selected(sfu.send), recv: await selected(sfu.recv), inbound: await this.received(sfu), heard: await heard(sfu.send),
      },
    };
  }

  async report() {
    const body = await this.statistics().catch(() => this.state); // closed meanwhile
    const answer = await fetch('/report', { method: 'POST', body: JSON.stringify(body) }).catch(() => undefined);
    const order = answer && (await answer.json().catch(() => ({}))).order;
    if (order) this.obey(order).catch(this.failed(order.what));
    setTimeout(() => this.report(), 300);
  }
}

// A track without a media element is not decoded: attach each to one, as a page would.
function show(track) {
  const element = document.createElement(track.kind);
  element.autoplay = true; element.muted = track.kind === 'video'; element.playsInline = true;
  element.srcObject = new MediaStream([track]);
  document.body.append(element);
  track.addEventListener('ended', () => element.remove());
}

// Of a connection, a transport or a consumer: what is received, what the candidates of the selected pair are, and what
// the other side has told of its receiving.
async function inbound(source) {
  const found = [];
  for (const report of (await source.getStats()).values()) {
    if (report.type === 'inbound-rtp') {
      found.push({
        kind: report.kind, packetsReceived: report.packetsReceived, framesDecoded: report.framesDecoded ?? 0,
        totalAudioEnergy: report.totalAudioEnergy ?? 0,
      });
    }
  }
  return found;
}

function flowing(streams) {
  return KINDS.every((kind) => streams.some((s) => s.kind === kind && (kind === 'video' ? s.framesDecoded : s.packetsReceived) > 0));
}

async function selected(source) {
  const reports = await source.getStats();
  for (const report of reports.values()) {
    const pair = report.type === 'transport' && reports.get(report.selectedCandidatePairId);
    if (pair) {
      const local = reports.get(pair.localCandidateId), remote = reports.get(pair.remoteCandidateId);
      return {
        local: local.candidateType, relayProtocol: local.relayProtocol, remote: remote.candidateType,
        dtlsState: report.dtlsState, bytesSent: pair.bytesSent, bytesReceived: pair.bytesReceived,
      };
    }
  }
  return { local: null };
}

async function heard(source) {
  const found = [];
  for (const report of (await source.getStats()).values()) {
    if (report.type === 'remote-inbound-rtp') found.push({ kind: report.kind, packetsLost: report.packetsLost, roundTripTime: report.roundTripTime });
  }
  return found;
}

for (const one of config.participants) {
  const participant = new Participant(one);
  participant.start().catch(participant.failed('start'));
}
