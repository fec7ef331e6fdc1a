/** Tries one way to a worker of a media server: a transport with candidates of one protocol, and a tone sent on it. */
import { Device, type types } from "mediasoup-client";
import type { CandidatePairReport } from "../call/model";
import { request } from "../wire/http";
import { ANSWERS, SHAPES, type JoinData } from "../wire/media_server";
import { pairsOf } from "./candidate_pairs";

/** A room made for a check, and a token of the media server for it. */
export interface ProbeRoom {
  readonly url: string;
  readonly token: string;
  readonly callId: string;
  readonly participantId: string;
}

export interface Probed {
  readonly connected: boolean;
  readonly pairs: readonly CandidatePairReport[];
  readonly sent: number;
  readonly lost: number;
  readonly rttMs: number | null;
}

const CONNECT_WITHIN_MS = 8000;

export async function probe(
  room: ProbeRoom,
  protocol: "udp" | "tcp",
  tone: MediaStreamTrack,
  measureMs: number,
): Promise<Probed> {
  const { callId, participantId } = room;
  const service = { url: room.url.replace(/\/$/, ""), token: () => room.token, shapes: SHAPES, answers: ANSWERS };
  const ask = <T>(route: string, ids: Readonly<Record<string, string>>, body: unknown) =>
    request<T>(service, route, { callId, ...ids }, body);
  const joined = await ask<JoinData>("POST /api/rooms/{callId}/join", {}, { participantId, create: true });
  const device = await Device.factory();
  await device.load({ routerRtpCapabilities: joined.rtpCapabilities as types.RtpCapabilities });
  const { sendTransport } = joined;
  const iceCandidates = sendTransport.iceCandidates.filter((one) => one.protocol === protocol);
  const transport = device.createSendTransport({
    ...sendTransport,
    iceCandidates,
  } as unknown as types.TransportOptions);
  const ids = { transportId: transport.id };
  transport.on("connect", ({ dtlsParameters }, done, failed) => {
    ask("POST /api/rooms/{callId}/transports/{transportId}/connect", ids, { dtlsParameters }).then(
      () => done(),
      failed,
    );
  });
  transport.on("produce", ({ kind, rtpParameters, appData }, done, failed) => {
    const body = { participantId, kind, rtpParameters, appData };
    ask<{ producerId: string }>("POST /api/rooms/{callId}/transports/{transportId}/produce", ids, body).then(
      ({ producerId }) => done({ id: producerId }),
      failed,
    );
  });
  try {
    if (iceCandidates.length === 0) return { connected: false, pairs: [], sent: 0, lost: 0, rttMs: null };
    await transport.produce({ track: tone, stopTracks: false, appData: { source: "check" } });
    const connected = await isConnected(transport);
    if (connected) await new Promise((done) => setTimeout(done, measureMs));
    return { connected, ...figuresOf(await transport.getStats()) };
  } finally {
    transport.close();
    await ask("POST /api/rooms/{callId}/participants/{participantId}/leave", { participantId }, {}).catch(
      () => undefined,
    );
  }
}

function isConnected(transport: types.Transport): Promise<boolean> {
  return new Promise((done) => {
    const late = setTimeout(() => done(transport.connectionState === "connected"), CONNECT_WITHIN_MS);
    const judge = (state: types.ConnectionState) => {
      if (state !== "connected" && state !== "failed") return;
      clearTimeout(late);
      done(state === "connected");
    };
    transport.on("connectionstatechange", judge);
    judge(transport.connectionState);
  });
}

interface SentReport {
  readonly type: string;
  readonly packetsSent?: number;
  readonly packetsLost?: number;
  readonly roundTripTime?: number;
}

/** Read how a sending connection fares; loss and delay are what the receiver has reported. */
export function figuresOf(reports: ReadonlyMap<string, unknown>): Omit<Probed, "connected"> {
  const pairs = pairsOf(reports);
  let [sent, lost] = [0, 0];
  let rttMs = pairs.find((one) => one.state === "succeeded")?.rttMs ?? null;
  for (const report of reports.values() as Iterable<SentReport>) {
    if (report.type === "outbound-rtp") sent += report.packetsSent ?? 0;
    if (report.type !== "remote-inbound-rtp") continue;
    lost += report.packetsLost ?? 0;
    if (report.roundTripTime !== undefined) rttMs = report.roundTripTime * 1000;
  }
  return { pairs, sent, lost, rttMs };
}
