// The requests of a room, over a router of mediasoup. Knows no HTTP (host.mjs) and starts no worker.

export const CODECS = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90000 },
];

/** A request that cannot be served; its message goes to the client. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The participants of one router. */
export class Room {
  #router;
  #listen;
  #participants = new Map();
  #number = 0;

  /** @param listen an entry of `listenInfos` of mediasoup */
  constructor(router, listen) {
    this.#router = router;
    this.#listen = listen;
  }

  async handle(method, path, body) {
    const [, collection, id, action] = path.split('/');
    if (collection !== 'participants') throw new Refused(404, `no such path: ${path}`);
    if (method === 'POST' && id === undefined) return this.#join();
    const participant = this.#participants.get(id);
    if (participant === undefined) throw new Refused(404, `no such participant: ${id}`);
    if (method === 'DELETE' && action === undefined) return this.#leave(id, participant);
    if (method !== 'POST') throw new Refused(405, `${method} ${path}`);
    switch (action) {
      case 'connect':
        await this.#transport(participant, body.which).connect({ dtlsParameters: body.dtlsParameters });
        return {};
      case 'produce': {
        const { kind, rtpParameters } = body;
        const producer = await participant.send.produce({ kind, rtpParameters });
        return { id: producer.id };
      }
      case 'consume': {
        const { producerId, rtpCapabilities } = body;
        if (!this.#router.canConsume({ producerId, rtpCapabilities }))
          throw new Refused(400, `producerId: ${producerId} is not there, or cannot be received with these rtpCapabilities`);
        const consumer = await participant.recv.consume({ producerId, rtpCapabilities, paused: false });
        return { id: consumer.id, kind: consumer.kind, rtpParameters: consumer.rtpParameters };
      }
      default:
        throw new Refused(404, `no such path: ${path}`);
    }
  }

  async #join() {
    const [send, recv] = await Promise.all([this.#create(), this.#create()]);
    const id = String(++this.#number);
    this.#participants.set(id, { send, recv });
    return {
      id,
      rtpCapabilities: this.#router.rtpCapabilities,
      send: described(send),
      recv: described(recv),
    };
  }

  #create() {
    return this.#router.createWebRtcTransport({
      listenInfos: [this.#listen],
      enableTcp: false,
      initialAvailableOutgoingBitrate: 100_000_000,
    });
  }

  #leave(id, participant) {
    this.#participants.delete(id);
    participant.send.close();
    participant.recv.close();
    return {};
  }

  #transport(participant, which) {
    if (which !== 'send' && which !== 'recv') throw new Refused(400, `which: is "send" or "recv", got ${JSON.stringify(which)}`);
    return participant[which];
  }
}

function described(transport) {
  const { iceParameters, iceCandidates, dtlsParameters } = transport;
  return { iceParameters, iceCandidates, dtlsParameters };
}
