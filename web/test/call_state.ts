/** States of calls for tests of pages. */
import type { CallState, LocalState, ParticipantState } from "../src/call/model";

const NAMES = ["Ada", "Bob", "Chloé", "Dmitri", "Eve", "Farid", "Grace", "Hiro", "Inès", "Jonas"];

export function participants(count: number): ParticipantState[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `p${index}`,
    name:
      index < NAMES.length
        ? (NAMES[index] as string)
        : `${NAMES[index % NAMES.length]} ${Math.floor(index / NAMES.length) + 1}`,
    self: index === 0,
    audioEnabled: index % 4 !== 3,
    videoEnabled: index % 5 !== 4,
    screenEnabled: false,
    connection: "connected",
    speaking: false,
    volume: 0,
    quality: ([4, 4, 3, 2, 1] as const)[index % 5] ?? null,
    joinedAt: 1000 * index,
  }));
}

export const LOCAL: LocalState = {
  microphone: "on",
  camera: "on",
  screen: "off",
  microphoneId: null,
  cameraId: null,
  error: null,
};

export function callState(count: number, change: Partial<CallState> = {}): CallState {
  return {
    stage: "in-call",
    callId: "call-1",
    mode: count > 2 ? "sfu" : "p2p",
    transition: null,
    self: "p0",
    participants: participants(count),
    activeSpeaker: null,
    local: LOCAL,
    startedAt: 0,
    summary: null,
    failure: null,
    replaced: false,
    ...change,
  };
}
