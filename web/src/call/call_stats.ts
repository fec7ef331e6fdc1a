/**
 * Figures of a call from the statistics of its connections: per track, as the quality of a participant's connection,
 * as the report to the gateway and as the summary at the end. Pure: reports and times go in.
 */
import type { RemoteTrack } from "../media/arrival";
import type { QualityBody } from "../wire/gateway";
import type { CallSummary, Mode, Quality, Source, TrackStats } from "./model";

/** The reports of one path, and whose tracks they are of. */
export interface PathReports {
  readonly mode: Mode;
  readonly reports: readonly ReadonlyMap<string, unknown>[];
  readonly remote: readonly RemoteTrack[];
  readonly sourceOfTrack: (trackId: string) => Source | null;
}

/** The members of all kinds of reports that are read here. */
interface Report {
  readonly id: string;
  readonly type: string;
  readonly timestamp?: number;
  readonly kind?: string;
  readonly trackIdentifier?: string;
  readonly mediaSourceId?: string;
  readonly remoteId?: string;
  readonly codecId?: string;
  readonly mimeType?: string;
  readonly bytesReceived?: number;
  readonly bytesSent?: number;
  readonly packetsReceived?: number;
  readonly packetsLost?: number;
  readonly fractionLost?: number;
  readonly jitter?: number;
  readonly roundTripTime?: number;
  readonly framesPerSecond?: number;
  readonly frameWidth?: number;
  readonly frameHeight?: number;
  readonly freezeCount?: number;
  readonly totalFreezesDuration?: number;
  readonly selectedCandidatePairId?: string;
  readonly currentRoundTripTime?: number;
  readonly localCandidateId?: string;
  readonly remoteCandidateId?: string;
  readonly candidateType?: string;
}

interface Sample {
  readonly at: number;
  readonly bytes: number;
  readonly received: number;
  readonly lost: number;
  readonly freezes: number;
  readonly frozenS: number;
}

export interface Reading {
  readonly tracks: readonly TrackStats[];
  readonly report: QualityBody | null;
}

const orNull = (value: number | undefined): number | null => value ?? null;
const ms = (seconds: number | undefined): number | null => (seconds === undefined ? null : seconds * 1000);

/** Reads repeatedly, and keeps what is counted from the beginning so that a reading is of the time since the last. */
export class StatsReader {
  readonly #before = new Map<string, Sample>();
  #lost = 0;
  #received = 0;
  #rttSum = 0;
  #rttCount = 0;
  #longestFreezeMs: number | null = null;

  read(paths: readonly PathReports[], self: string, at: number): Reading {
    const tracks: TrackStats[] = [];
    const sums = { lost: 0, received: 0, bytesSent: 0, bytesReceived: 0, seconds: 0 };
    paths.forEach((path, index) => {
      for (const [part, reports] of path.reports.entries()) {
        const all = new Map([...reports.values()].map((one) => [(one as Report).id, one as Report]));
        const pair = selectedPair(all);
        for (const report of all.values()) {
          const key = `${path.mode} ${index} ${part} ${report.id}`;
          if (report.type === "inbound-rtp") {
            const remote = path.remote.find((one) => one.track.id === report.trackIdentifier);
            if (remote) tracks.push(this.#inbound(key, report, all, pair, remote, path.mode, at, sums));
          } else if (report.type === "outbound-rtp") {
            const source = sourceOfOutbound(report, all, path);
            if (source) tracks.push(this.#outbound(key, report, all, pair, source, path.mode, self, at, sums));
          }
        }
        const rtt = ms(pair?.currentRoundTripTime);
        if (rtt !== null) {
          this.#rttSum += rtt;
          this.#rttCount += 1;
        }
      }
    });
    this.#lost += sums.lost;
    this.#received += sums.received;
    return { tracks, report: reportOf(tracks, sums) };
  }

  /** What is shown at the end of a call. */
  summary(durationS: number, reason: string, switches: number): CallSummary {
    const packets = this.#lost + this.#received;
    return {
      durationS,
      reason,
      switches,
      lossRatio: packets > 0 ? this.#lost / packets : null,
      rttMs: this.#rttCount > 0 ? this.#rttSum / this.#rttCount : null,
      longestFreezeMs: this.#longestFreezeMs,
    };
  }

  #inbound(
    key: string,
    report: Report,
    all: ReadonlyMap<string, Report>,
    pair: Report | null,
    remote: RemoteTrack,
    mode: Mode,
    at: number,
    sums: Sums,
  ): TrackStats {
    const { before, now } = this.#sample(key, report, report.bytesReceived ?? 0, at);
    const lost = Math.max(0, now.lost - (before?.lost ?? 0));
    const received = Math.max(0, now.received - (before?.received ?? 0));
    sums.lost += lost;
    sums.received += received;
    add(sums, "bytesReceived", before, now);
    if (report.kind === "video") this.#noteFreezes(before, now);
    return {
      participantId: remote.participantId,
      source: remote.source,
      direction: "in",
      mode,
      ...common(report, all, pair, before, now),
      lossRatio: before && lost + received > 0 ? lost / (lost + received) : null,
      rttMs: ms(pair?.currentRoundTripTime),
      jitterMs: ms(report.jitter),
    };
  }

  #outbound(
    key: string,
    report: Report,
    all: ReadonlyMap<string, Report>,
    pair: Report | null,
    source: Source,
    mode: Mode,
    self: string,
    at: number,
    sums: Sums,
  ): TrackStats {
    const { before, now } = this.#sample(key, report, report.bytesSent ?? 0, at);
    add(sums, "bytesSent", before, now);
    const heard = all.get(report.remoteId ?? "");
    return {
      participantId: self,
      source,
      direction: "out",
      mode,
      ...common(report, all, pair, before, now),
      lossRatio: orNull(heard?.fractionLost),
      rttMs: ms(heard?.roundTripTime) ?? ms(pair?.currentRoundTripTime),
      jitterMs: ms(heard?.jitter),
    };
  }

  #sample(key: string, report: Report, bytes: number, at: number): { before: Sample | undefined; now: Sample } {
    const before = this.#before.get(key);
    const now = {
      at,
      bytes,
      received: report.packetsReceived ?? 0,
      lost: report.packetsLost ?? 0,
      freezes: report.freezeCount ?? 0,
      frozenS: report.totalFreezesDuration ?? 0,
    };
    this.#before.set(key, now);
    return { before, now };
  }

  #noteFreezes(before: Sample | undefined, now: Sample): void {
    const count = now.freezes - (before?.freezes ?? 0);
    const frozenMs = count > 0 ? ((now.frozenS - (before?.frozenS ?? 0)) * 1000) / count : 0;
    this.#longestFreezeMs = Math.max(this.#longestFreezeMs ?? 0, frozenMs);
  }
}

interface Sums {
  lost: number;
  received: number;
  bytesSent: number;
  bytesReceived: number;
  seconds: number;
}

function add(sums: Sums, name: "bytesSent" | "bytesReceived", before: Sample | undefined, now: Sample): void {
  sums[name] += Math.max(0, now.bytes - (before?.bytes ?? 0));
  if (before) sums.seconds = Math.max(sums.seconds, (now.at - before.at) / 1000);
}

function selectedPair(all: ReadonlyMap<string, Report>): Report | null {
  for (const report of all.values()) {
    const pair = report.type === "transport" ? all.get(report.selectedCandidatePairId ?? "") : undefined;
    if (pair) return pair;
  }
  return null;
}

function sourceOfOutbound(report: Report, all: ReadonlyMap<string, Report>, path: PathReports): Source | null {
  const trackId = all.get(report.mediaSourceId ?? "")?.trackIdentifier ?? report.trackIdentifier;
  return trackId === undefined ? null : path.sourceOfTrack(trackId);
}

function common(
  report: Report,
  all: ReadonlyMap<string, Report>,
  pair: Report | null,
  before: Sample | undefined,
  now: Sample,
): Pick<TrackStats, "bitrateBps" | "framesPerSecond" | "width" | "height" | "codec" | "relay"> {
  const types = [pair?.localCandidateId, pair?.remoteCandidateId].map((id) => all.get(id ?? "")?.candidateType);
  const passed = before ? now.at - before.at : 0;
  const video = report.kind === "video";
  return {
    bitrateBps: before && passed > 0 ? Math.max(0, ((now.bytes - before.bytes) * 8000) / passed) : null,
    framesPerSecond: video ? orNull(report.framesPerSecond) : null,
    width: video ? orNull(report.frameWidth) : null,
    height: video ? orNull(report.frameHeight) : null,
    codec: all.get(report.codecId ?? "")?.mimeType ?? null,
    relay: pair ? types.includes("relay") : null,
  };
}

function reportOf(tracks: readonly TrackStats[], sums: Sums): QualityBody | null {
  if (tracks.length === 0 || sums.seconds <= 0) return null;
  const rtts = tracks.flatMap(({ rttMs }) => rttMs ?? []);
  const jitters = tracks.flatMap(({ direction, jitterMs }) => (direction === "in" ? (jitterMs ?? []) : []));
  const mean = (values: readonly number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;
  return {
    packetsLost: sums.lost,
    packetsReceived: sums.received,
    ...(rtts.length > 0 ? { rtt: mean(rtts) } : {}),
    ...(jitters.length > 0 ? { jitter: mean(jitters) } : {}),
    bitrate: ((sums.bytesSent + sums.bytesReceived) * 8) / 1000 / sums.seconds,
    bytesSent: sums.bytesSent,
    bytesReceived: sums.bytesReceived,
  };
}

/** How good a connection is by what people notice: loss, delay, jitter. The worst of the three counts. */
export function qualityOf(figures: Pick<TrackStats, "lossRatio" | "rttMs" | "jitterMs">): Quality | null {
  const { lossRatio, rttMs, jitterMs } = figures;
  const grades = [
    grade(lossRatio, [0.01, 0.03, 0.08, 0.2]),
    grade(rttMs, [150, 300, 500, 1000]),
    grade(jitterMs, [30, 60, 100, 200]),
  ].filter((one) => one !== null);
  return grades.length === 0 ? null : (Math.min(...grades) as Quality);
}

function grade(value: number | null, limits: readonly number[]): number | null {
  if (value === null) return null;
  const passed = limits.findIndex((limit) => value <= limit);
  return passed === -1 ? 0 : 4 - passed;
}

/** The quality of each participant's connection: of the worst of the tracks from them, of the own for `self`. */
export function qualities(tracks: readonly TrackStats[]): ReadonlyMap<string, Quality | null> {
  const found = new Map<string, Quality | null>();
  for (const track of tracks) {
    const quality = qualityOf(track);
    const before = found.get(track.participantId) ?? null;
    if (quality === null) found.set(track.participantId, before);
    else found.set(track.participantId, before === null ? quality : (Math.min(before, quality) as Quality));
  }
  return found;
}
