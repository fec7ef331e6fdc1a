/**
 * What keeps a user from a call, and what helps: checks of the page, its devices, the gateway, and the ways to each
 * worker of the media server.
 */
import type { PathReports } from "../call/call_stats";
import type { CallState, CandidatePairReport, Check, Diagnosis } from "../call/model";
import { openDevices } from "../media/devices";
import { textOf } from "../wire/errors";
import { request } from "../wire/http";
import { ANSWERS, SHAPES, type WebConfig } from "../wire/gateway";
import { pairsOf } from "./candidate_pairs";
import {
  failed,
  judgeBrowser,
  judgeClock,
  judgeDevice,
  judgeGateway,
  judgeLoss,
  judgePairs,
  judgeRtt,
  judgeToken,
  judgeTransport,
  judgeTurn,
  skipped,
} from "./judgement";
import { probe, type ProbeRoom } from "./media_probe";

export type { ProbeRoom } from "./media_probe";

export interface CheckConfig {
  /** Origin of the gateway; the page's own when left out. */
  readonly gatewayUrl?: string;
  /** The user's token, to see whether it still holds. */
  readonly token?: string;
  /** One room for each worker that is to be tried; without them UDP, TCP, loss and delay are skipped. */
  readonly rooms?: readonly ProbeRoom[];
  readonly iceServers?: readonly RTCIceServer[];
  /** How long loss is measured; 10 s when left out. */
  readonly measureMs?: number;
}

const MEASURE_MS = 10_000;
const RELAY_WITHIN_MS = 5000;

/** Try everything a call needs, one after the other; `onProgress` gets all that is known after each step. */
export async function runChecks(
  config: CheckConfig = {},
  onProgress: (checks: readonly Check[]) => void = () => undefined,
): Promise<Diagnosis> {
  const checks: Check[] = [];
  const pairs: CandidatePairReport[] = [];
  const report = (...done: readonly Check[]) => {
    checks.push(...done);
    onProgress([...checks]);
  };
  report(...judgeBrowser(isSecureContext, "RTCPeerConnection" in globalThis));
  report(...(await checkServer(config)));
  report(...(await checkDevices()));
  const servers = config.iceServers ?? [];
  report(judgeTurn(hasTurn(servers), hasTurn(servers) && (await relays(servers))));
  report(...(await checkWays(config, pairs)));
  return { checks, pairs };
}

/** What of a client a diagnosis reads. */
export interface Diagnosable {
  readonly state: CallState;
  reports(): Promise<readonly PathReports[]>;
}

/** Say why a call does not work just now: its candidate pairs, its devices, its server. */
export async function diagnose(client: Diagnosable, config: CheckConfig = {}): Promise<Diagnosis> {
  const reports = (await client.reports()).flatMap((path) => path.reports);
  const pairs = reports.flatMap(pairsOf);
  const { error } = client.state.local;
  const problems = error ? [error] : [];
  const checks = [
    ...judgeBrowser(isSecureContext, "RTCPeerConnection" in globalThis),
    ...(await checkServer(config)),
    ...(error ? [judgeDevice(error.kind, problems, null)] : []),
    judgePairs(pairs, hostOf(config)),
  ];
  return { checks, pairs };
}

const gatewayOf = (config: CheckConfig): string => (config.gatewayUrl ?? location.origin).replace(/\/$/, "");
const hostOf = (config: CheckConfig): string => new URL(gatewayOf(config)).hostname;

async function checkServer(config: CheckConfig): Promise<Check[]> {
  const url = gatewayOf(config);
  const service = { url, token: () => config.token ?? "", shapes: SHAPES, answers: ANSWERS };
  try {
    const { serverTime } = await request<WebConfig>(service, "GET /api/web-config", {});
    const server = Date.parse(serverTime);
    return [
      judgeGateway(url, null),
      judgeClock(server, Date.now()),
      judgeToken(config.token ?? null, Number.isNaN(server) ? Date.now() : server),
    ];
  } catch (error) {
    return [judgeGateway(url, textOf(error)), skipped("clock", "the server does not answer")];
  }
}

async function checkDevices(): Promise<Check[]> {
  const { audio, video, problems } = await openDevices({ audio: true, video: true });
  const found = [
    judgeDevice("audio", problems, audio?.label ?? null),
    judgeDevice("video", problems, video?.label ?? null),
  ];
  audio?.stop();
  video?.stop();
  return found;
}

async function checkWays(config: CheckConfig, pairs: CandidatePairReport[]): Promise<Check[]> {
  const rooms = config.rooms ?? [];
  if (rooms.length === 0) return ["udp", "tcp", "loss", "rtt"].map((id) => skipped(id, "no room to try was given"));
  const context = new AudioContext();
  const oscillator = context.createOscillator();
  const target = context.createMediaStreamDestination();
  oscillator.connect(target);
  oscillator.start();
  await Promise.race([context.resume(), new Promise((done) => setTimeout(done, 500))]);
  const [tone] = target.stream.getAudioTracks();
  const checks: Check[] = [];
  let measured = false;
  try {
    for (const [index, room] of rooms.entries()) {
      for (const protocol of ["udp", "tcp"] as const) {
        if (!tone) break;
        const id = `${protocol}-${index}`;
        try {
          const found = await probe(room, protocol, tone, measured ? 0 : (config.measureMs ?? MEASURE_MS));
          pairs.push(...found.pairs);
          checks.push(judgeTransport(id, protocol, found.connected, found.pairs, hostOf(config)));
          if (!found.connected || measured) continue;
          measured = true;
          checks.push(judgeLoss(found.lost, found.sent), judgeRtt(found.rttMs));
        } catch (error) {
          checks.push(failed(id, textOf(error), "Check that the media server runs and that this page may call it."));
        }
      }
    }
  } finally {
    await context.close();
  }
  return checks;
}

const hasTurn = (servers: readonly RTCIceServer[]): boolean =>
  servers.some(({ urls }) => [urls].flat().some((url) => /^turns?:/.test(url)));

/** Whether a TURN server gives a relay address. */
async function relays(iceServers: readonly RTCIceServer[]): Promise<boolean> {
  const pc = new RTCPeerConnection({ iceServers: [...iceServers], iceTransportPolicy: "relay" });
  try {
    const found = new Promise<boolean>((done) => {
      setTimeout(() => done(false), RELAY_WITHIN_MS);
      pc.onicecandidate = ({ candidate }) => {
        if (candidate === null) done(false);
        else if (candidate.type === "relay") done(true);
      };
    });
    pc.createDataChannel("check");
    await pc.setLocalDescription();
    return await found;
  } finally {
    pc.close();
  }
}
