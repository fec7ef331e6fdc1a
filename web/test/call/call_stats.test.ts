import { expect, test } from "vitest";
import { qualities, qualityOf, StatsReader, type PathReports } from "../../src/call/call_stats";
import type { TrackStats } from "../../src/call/model";

const track = { id: "remote" } as MediaStreamTrack;

function path(seconds: number, change: object = {}): PathReports {
  const list = [
    { id: "T", type: "transport", selectedCandidatePairId: "P" },
    { id: "P", type: "candidate-pair", currentRoundTripTime: 0.05, localCandidateId: "L", remoteCandidateId: "R" },
    { id: "L", type: "local-candidate", candidateType: "relay" },
    { id: "R", type: "remote-candidate", candidateType: "host" },
    { id: "C", type: "codec", mimeType: "video/VP8" },
    {
      id: "I",
      type: "inbound-rtp",
      kind: "video",
      trackIdentifier: "remote",
      codecId: "C",
      bytesReceived: 125_000 * seconds,
      packetsReceived: 99 * seconds,
      packetsLost: seconds,
      jitter: 0.02,
      framesPerSecond: 30,
      frameWidth: 640,
      frameHeight: 360,
      freezeCount: seconds,
      totalFreezesDuration: 0.4 * seconds,
      ...change,
    },
    { id: "S", type: "media-source", trackIdentifier: "own" },
    { id: "O", type: "outbound-rtp", kind: "audio", mediaSourceId: "S", remoteId: "H", bytesSent: 4000 * seconds },
    { id: "H", type: "remote-inbound-rtp", fractionLost: 0.25, roundTripTime: 0.1, jitter: 0.001 },
    { id: "X", type: "inbound-rtp", kind: "audio", trackIdentifier: "of nobody", bytesReceived: 1 },
  ];
  return {
    mode: "sfu",
    reports: [new Map(list.map((one) => [one.id, one]))],
    remote: [{ participantId: "bob", source: "camera", track }],
    sourceOfTrack: (id) => (id === "own" ? "microphone" : null),
  };
}

test("figures are of the time since the reading before", () => {
  const reader = new StatsReader();
  expect(reader.read([path(1)], "ada", 1000).tracks[0]).toMatchObject({ bitrateBps: null, lossRatio: null });
  const { tracks, report } = reader.read([path(3)], "ada", 3000);
  expect(tracks).toEqual([
    {
      participantId: "bob",
      source: "camera",
      direction: "in",
      mode: "sfu",
      bitrateBps: 1_000_000,
      framesPerSecond: 30,
      width: 640,
      height: 360,
      codec: "video/VP8",
      relay: true,
      lossRatio: 0.01,
      rttMs: 50,
      jitterMs: 20,
    },
    {
      participantId: "ada",
      source: "microphone",
      direction: "out",
      mode: "sfu",
      bitrateBps: 32_000,
      framesPerSecond: null,
      width: null,
      height: null,
      codec: null,
      relay: true,
      lossRatio: 0.25,
      rttMs: 100,
      jitterMs: 1,
    },
  ]);
  expect(report).toEqual({
    packetsLost: 2,
    packetsReceived: 198,
    rtt: 75,
    jitter: 20,
    bitrate: 1032,
    bytesSent: 8000,
    bytesReceived: 250_000,
  });
});

test("the first reading reports nothing", () => {
  expect(new StatsReader().read([path(1)], "ada", 1000).report).toBeNull();
  expect(new StatsReader().read([], "ada", 1000)).toEqual({ tracks: [], report: null });
});

test("the summary is of the whole call", () => {
  const reader = new StatsReader();
  reader.read([path(1)], "ada", 1000);
  reader.read([path(3, { totalFreezesDuration: 2.4 })], "ada", 3000);
  expect(reader.summary(3, "left", 2)).toEqual({
    durationS: 3,
    reason: "left",
    switches: 2,
    lossRatio: 0.01,
    rttMs: 50,
    longestFreezeMs: 1000,
  });
});

test("a call without figures has a summary without them", () => {
  expect(new StatsReader().summary(0, "left", 0)).toMatchObject({
    lossRatio: null,
    rttMs: null,
    longestFreezeMs: null,
  });
});

test("a stream that began anew counts from zero, not below", () => {
  const reader = new StatsReader();
  reader.read([path(5)], "ada", 1000);
  expect(reader.read([path(1)], "ada", 2000).tracks[0]).toMatchObject({ bitrateBps: 0, lossRatio: null });
});

test.each([
  [{ lossRatio: 0, rttMs: 20, jitterMs: 5 }, 4],
  [{ lossRatio: 0.02, rttMs: 20, jitterMs: 5 }, 3],
  [{ lossRatio: 0, rttMs: 400, jitterMs: 5 }, 2],
  [{ lossRatio: 0, rttMs: 20, jitterMs: 150 }, 1],
  [{ lossRatio: 0.5, rttMs: null, jitterMs: null }, 0],
  [{ lossRatio: null, rttMs: null, jitterMs: null }, null],
] as const)("%o is quality %s", (figures, quality) => {
  expect(qualityOf(figures)).toBe(quality);
});

test("the worst track is a participant's quality", () => {
  const base = { participantId: "bob", lossRatio: 0, rttMs: 20, jitterMs: 5 } as TrackStats;
  const unknown = { ...base, participantId: "eve", lossRatio: null, rttMs: null, jitterMs: null };
  expect([...qualities([base, { ...base, lossRatio: 0.1 }, base, unknown])]).toEqual([
    ["bob", 1],
    ["eve", null],
  ]);
});
