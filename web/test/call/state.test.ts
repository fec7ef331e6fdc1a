import { expect, test } from "vitest";
import type { CallState } from "../../src/call/model";
import { IDLE, reduce, type Action } from "../../src/call/state";
import type { ParticipantData } from "../../src/wire/gateway";

const data = (id: string, minute: number, change: Partial<ParticipantData> = {}): ParticipantData => ({
  participantId: id,
  username: id.toUpperCase(),
  role: "participant",
  status: "connected",
  joinedAt: `2026-01-01T00:0${minute}:00.000Z`,
  leftAt: null,
  audioEnabled: true,
  videoEnabled: true,
  screenShareEnabled: false,
  ...change,
});
const after = (...actions: readonly Action[]): CallState => actions.reduce(reduce, IDLE);
const joined: Action = {
  type: "joined",
  callId: "c",
  self: "ada",
  mode: "p2p",
  participants: [data("bob", 2), data("ada", 1)],
  at: 5,
};
const summary = { durationS: 1, reason: "left", switches: 0, lossRatio: null, rttMs: null, longestFreezeMs: null };

test("participants stand in the order of joining, the own one marked", () => {
  const state = after({ type: "entering" }, joined);
  expect(state.participants.map(({ id, self }) => [id, self])).toEqual([
    ["ada", true],
    ["bob", false],
  ]);
  expect(state).toMatchObject({ stage: "in-call", callId: "c", self: "ada", mode: "p2p", startedAt: 5 });
  expect(state.participants[1]).toMatchObject({ name: "BOB", connection: "connecting" });
});

test("a list of the gateway keeps what is known of those who stay", () => {
  const state = after(
    joined,
    { type: "connection", id: "bob", connection: "connected" },
    { type: "participants", participants: [data("ada", 1), data("bob", 2, { audioEnabled: false }), data("eve", 3)] },
  );
  expect(state.participants.map(({ id, connection }) => `${id} ${connection}`)).toEqual([
    "ada connected",
    "bob connected",
    "eve connecting",
  ]);
  expect(state.participants[1]?.audioEnabled).toBe(false);
});

test("who has left is not in a list", () => {
  const gone = data("bob", 2, { leftAt: "2026-01-01T00:05:00.000Z" });
  expect(after(joined, { type: "participants", participants: [data("ada", 1), gone] }).participants).toHaveLength(1);
});

test("a participant who joins anew is there once", () => {
  const state = after(joined, { type: "participant-joined", participant: data("bob", 4) });
  expect(state.participants.map(({ id }) => id)).toEqual(["ada", "bob"]);
});

test("who leaves is not the active speaker any more", () => {
  const state = after(
    joined,
    { type: "volumes", volumes: new Map([["bob", 0.8]]), activeSpeaker: "bob" },
    { type: "participant-left", id: "bob" },
  );
  expect(state).toMatchObject({ activeSpeaker: null });
  expect(state.participants).toHaveLength(1);
});

test("a toggle changes one flag of one participant", () => {
  const before = after(joined);
  const state = reduce(before, { type: "toggled", id: "bob", media: "video", enabled: false });
  expect(state.participants[1]?.videoEnabled).toBe(false);
  expect(state.participants[0]).toBe(before.participants[0]);
});

test("volumes that hardly change make no new state", () => {
  const loud = after(joined, { type: "volumes", volumes: new Map([["bob", 0.5]]) });
  expect(loud.participants[1]).toMatchObject({ speaking: true, volume: 0.5 });
  expect(reduce(loud, { type: "volumes", volumes: new Map([["bob", 0.52]]) })).toBe(loud);
  expect(reduce(loud, { type: "volumes", volumes: new Map() }).participants[1]).toMatchObject({
    speaking: false,
    volume: 0,
  });
});

test("who is muted does not speak", () => {
  const state = after(
    joined,
    { type: "toggled", id: "bob", media: "audio", enabled: false },
    { type: "volumes", volumes: new Map([["bob", 0.9]]) },
  );
  expect(state.participants[1]).toMatchObject({ speaking: false, volume: 0 });
});

test("a quality that is the same makes no new participants", () => {
  const good = after(joined, { type: "quality", quality: new Map([["bob", 4]]) });
  expect(good.participants[1]?.quality).toBe(4);
  expect(reduce(good, { type: "quality", quality: new Map([["bob", 4]]) }).participants).toBe(good.participants);
});

test("a change of path that succeeds leaves the new mode and no transition", () => {
  const switching = after(joined, { type: "switching", to: "sfu", from: "p2p", at: 10 });
  expect(switching).toMatchObject({ mode: "p2p", transition: { to: "sfu", since: 10, attempt: 1, failed: null } });
  const state = reduce(switching, { type: "switched", mode: "sfu", success: true, why: "", at: 20 });
  expect(state).toMatchObject({ mode: "sfu", transition: null });
});

test("a change of path that fails says why, and the next try counts on", () => {
  const tried = after(
    joined,
    { type: "switching", to: "sfu", from: "p2p", at: 10 },
    { type: "switched", mode: "p2p", success: false, why: "deadline", at: 20 },
  );
  expect(tried).toMatchObject({ mode: "p2p", transition: { to: "sfu", since: 10, attempt: 1, failed: "deadline" } });
  const again = reduce(tried, { type: "switching", to: "sfu", from: "p2p", at: 30 });
  expect(again.transition).toEqual({ to: "sfu", since: 10, attempt: 2, failed: null });
});

test("no path is a failed transition, diagnosed later", () => {
  const failure = { code: "udp-blocked", message: "m", diagnosis: null } as const;
  const state = after(joined, { type: "no-path", to: "sfu", why: "sfu-full", at: 7 }, { type: "diagnosed", failure });
  expect(state).toMatchObject({ stage: "in-call", transition: { to: "sfu", failed: "sfu-full" }, failure });
});

test("reconnecting and back, but only in a call", () => {
  expect(reduce(IDLE, { type: "reconnecting" })).toBe(IDLE);
  const away = after(joined, { type: "reconnecting" });
  expect(away.stage).toBe("reconnecting");
  expect(reduce(away, { type: "reconnected" }).stage).toBe("in-call");
  expect(reduce(IDLE, { type: "reconnected" })).toBe(IDLE);
});

test("the end leaves the summary, and nobody", () => {
  const state = after(joined, { type: "ended", summary, replaced: true, failure: null });
  expect(state).toMatchObject({ stage: "ended", participants: [], replaced: true, summary, mode: null });
  const failure = { code: "kicked", message: "m", diagnosis: null } as const;
  expect(after(joined, { type: "ended", summary, replaced: false, failure }).stage).toBe("failed");
});

test("what failed is told, and the local devices stay on the way in", () => {
  const failure = { code: "call-full", message: "m", diagnosis: null } as const;
  const state = after({ type: "local", change: { microphone: "on" } }, { type: "failed", failure });
  expect(state).toMatchObject({ stage: "failed", failure });
  expect(reduce(state, { type: "entering" })).toMatchObject({
    stage: "joining",
    failure: null,
    local: { microphone: "on" },
  });
});
