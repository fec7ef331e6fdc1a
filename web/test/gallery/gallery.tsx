/** The pages in chosen states, without servers: `?scene=nine`. For pictures, for the look, and for checks of accessibility. */

import { createRoot } from "react-dom/client";
import type { ReactNode } from "react";
import type { CallStats, Diagnosis, TrackStats } from "../../src/call/model";
import { Surroundings } from "../../src/pages/App";
import { CallStages } from "../../src/pages/CallStages";
import { CheckPage } from "../../src/pages/CheckPage";
import { PreJoin } from "../../src/pages/PreJoin";
import { settingsStore } from "../../src/store/settings";
import "../../src/styles/base.css";
import { CallDouble } from "../call_double";
import { callState, participants } from "../call_state";
import { portrait, sharedScreen } from "./portrait";

const query = new URLSearchParams(location.search);
const scene = query.get("scene") ?? "two";

settingsStore.change({
  theme: query.get("theme") === "dark" ? "dark" : "light",
  language: query.get("lang") === "fr" ? "fr" : "en",
  layout: scene === "speaker" ? "speaker" : "grid",
  name: "Ada",
});

// A drawn person instead of the test pattern of a camera that is not there.
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wish) => {
  const stream = await open(wish);
  const [camera] = stream.getVideoTracks();
  if (camera === undefined) return stream;
  camera.stop();
  return new MediaStream([...stream.getAudioTracks(), ...portrait(0).getVideoTracks()]);
};

const DIAGNOSIS: Diagnosis = {
  checks: [
    { id: "secure-origin", state: "passed", detail: "The page was opened by https.", remedy: null },
    { id: "gateway", state: "passed", detail: "It answered after 18 ms.", remedy: null },
    { id: "token", state: "passed", detail: "Valid for 11 hours.", remedy: null },
    {
      id: "udp-0",
      state: "failed",
      detail: "198.51.100.7:10000 did not answer 14 packets in 5 s.",
      remedy: "Try another network, or let UDP to port 10000 through the firewall.",
    },
    {
      id: "tcp-0",
      state: "failed",
      detail: "198.51.100.7:10000 refused the connection.",
      remedy: "Open TCP port 10000.",
    },
    { id: "turn", state: "skipped", detail: "The server names no TURN relay.", remedy: null },
  ],
  pairs: [
    {
      local: { address: "192.168.1.20", port: 51344, protocol: "udp", type: "host" },
      remote: { address: "198.51.100.7", port: 10000, protocol: "udp", type: "host" },
      state: "failed",
      nominated: false,
      rttMs: null,
    },
    {
      local: { address: "192.168.1.20", port: 9, protocol: "tcp", type: "host" },
      remote: { address: "198.51.100.7", port: 10000, protocol: "tcp", type: "host" },
      state: "failed",
      nominated: false,
      rttMs: null,
    },
  ],
};

let tick = 0;
function figures(): CallStats {
  tick += 1;
  const track = (
    participantId: string,
    source: TrackStats["source"],
    direction: TrackStats["direction"],
  ): TrackStats => {
    const wave = Math.sin(tick / 7 + participantId.length + (direction === "in" ? 1 : 0));
    const video = source !== "microphone";
    return {
      participantId,
      source,
      direction,
      mode: "sfu",
      bitrateBps: video ? 1_150_000 + wave * 280_000 : 31_000 + wave * 3000,
      framesPerSecond: video ? 30 : null,
      width: video ? 1280 : null,
      height: video ? 720 : null,
      lossRatio: direction === "in" ? 0.002 : 0,
      rttMs: 24 + wave * 3,
      jitterMs: 3.4,
      codec: video ? "VP8" : "opus",
      relay: false,
    };
  };
  return {
    at: tick * 1000,
    mode: "sfu",
    tracks: [
      track("p0", "microphone", "out"),
      track("p0", "camera", "out"),
      track("p1", "microphone", "in"),
      track("p1", "camera", "in"),
      track("p2", "camera", "in"),
    ],
  };
}

function double(count: number): CallDouble {
  const startedAt = Date.now() - 754_000;
  const people = participants(count);
  const speaker = people[count > 16 ? 20 : 1]?.id ?? null;
  const client = new CallDouble(callState(count, { startedAt, participants: people, activeSpeaker: speaker }));
  const streams = new Map<string, MediaStream>();
  client.streamOf = (id, source) => {
    const key = `${id}/${source}`;
    const stream = streams.get(key) ?? (source === "screen" ? sharedScreen() : portrait(Number(id.slice(1))));
    streams.set(key, stream);
    return stream;
  };
  client.statsNow = figures;
  return client;
}

function call(count: number, change: Parameters<CallDouble["set"]>[0] = {}): ReactNode {
  const client = double(count);
  client.set(change);
  Object.assign(window, { double: client });
  return <CallStages client={client} link="https://call.example/#invite=abc" onBack={noop} onTakeBack={noop} />;
}

function noop(): void {
  // Nothing lies behind the gallery.
}

const SCENES: Readonly<Record<string, () => ReactNode>> = {
  prejoin: () => (
    <PreJoin
      suggestedName={null}
      ongoing={{ people: 3, startedAt: Date.now() - 312_000 }}
      joining={false}
      refusal={null}
      onJoin={noop}
    />
  ),
  alone: () => call(1),
  two: () => call(2),
  three: () => call(3),
  five: () => call(5),
  nine: () => call(9),
  sixteen: () => call(16),
  fifty: () => call(50),
  speaker: () => call(8),
  share: () => call(5, { participants: participants(5).map((one, at) => ({ ...one, screenEnabled: at === 2 })) }),
  switching: () => call(3, { mode: "p2p", transition: { to: "sfu", since: Date.now(), attempt: 1, failed: null } }),
  switchFailed: () => call(3, { mode: "p2p", transition: { to: "sfu", since: 0, attempt: 2, failed: "timeout" } }),
  reconnecting: () =>
    call(3, {
      stage: "reconnecting",
      participants: participants(3).map((one, at) => ({ ...one, connection: at === 2 ? "reconnecting" : "connected" })),
    }),
  failure: () =>
    call(1, {
      stage: "failed",
      failure: { code: "udp-blocked", message: "transport p2 failed: no candidate pair", diagnosis: DIAGNOSIS },
    }),
  ended: () =>
    call(1, {
      stage: "ended",
      summary: { durationS: 754, reason: "left", switches: 2, lossRatio: 0.0034, rttMs: 24, longestFreezeMs: 180 },
    }),
  replaced: () => call(1, { replaced: true }),
  check: () => (
    <CheckPage run={(onProgress) => (onProgress(DIAGNOSIS.checks.slice(0, 3)), Promise.resolve(DIAGNOSIS))} />
  ),
};

const root = document.getElementById("root");
const show = SCENES[scene];
if (root !== null && show !== undefined) {
  createRoot(root).render(
    <Surroundings {...(query.get("dir") === "rtl" ? { direction: "rtl" as const } : {})}>{show()}</Surroundings>,
  );
}
