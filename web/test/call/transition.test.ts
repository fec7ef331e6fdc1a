import { expect, test } from "vitest";
import {
  closedBy,
  isLate,
  judgeArrival,
  patienceMs,
  planJoin,
  planRejoin,
  planSwitch,
  type Order,
  type Paths,
} from "../../src/call/transition";

const NONE: Paths = { direct: null, server: null, warm: null };
const order = (change: Partial<Order>): Order => ({
  mode: "sfu",
  epoch: 1,
  roomId: "r1",
  peer: null,
  initiator: false,
  ...change,
});

test("to the media server the direct path is kept", () => {
  expect(planSwitch(order({}), "p2p", { ...NONE, direct: "bob" })).toEqual({ build: "server", use: "new", drop: [] });
});

test("a prepared room is used if it is the one named", () => {
  const paths = { ...NONE, direct: "bob", warm: "r1" };
  expect(planSwitch(order({}), "p2p", paths)).toMatchObject({ use: "warm" });
  expect(planSwitch(order({ roomId: "r2" }), "p2p", paths)).toMatchObject({ use: "new" });
});

test("re-homing drops the transports of the room that is lost", () => {
  expect(planSwitch(order({ roomId: "r2" }), "sfu", { ...NONE, server: "r1" })).toEqual({
    build: "server",
    use: "new",
    drop: ["sfu"],
  });
});

test("a room that is there already is used again", () => {
  expect(planSwitch(order({}), "sfu", { ...NONE, server: "r1" })).toMatchObject({ use: "existing", drop: [] });
});

test("to the direct path only the initiator offers, and the media server is kept", () => {
  const back = order({ mode: "p2p", roomId: null, peer: "bob", initiator: true });
  const paths = { ...NONE, server: "r1" };
  expect(planSwitch(back, "sfu", paths)).toEqual({ build: "direct", offer: true, peer: "bob", drop: [] });
  expect(planSwitch({ ...back, initiator: false }, "sfu", paths)).toMatchObject({ offer: false, drop: [] });
});

test("from direct to direct what there is of an older connection goes first", () => {
  const again = order({ mode: "p2p", peer: "eve", initiator: false });
  expect(planSwitch(again, "p2p", { ...NONE, direct: "bob" })).toMatchObject({ drop: ["p2p"] });
});

test("alone there is nothing to build", () => {
  expect(planSwitch(order({ mode: "p2p" }), "sfu", NONE)).toEqual({ build: "nothing", drop: [] });
});

test("a join begins anew", () => {
  expect(planJoin(order({}))).toEqual({ build: "server", use: "new", drop: ["p2p", "sfu"] });
  expect(planJoin(order({ mode: "p2p", peer: "bob" }))).toMatchObject({ build: "direct", offer: false });
  expect(planJoin(order({ mode: "p2p" }))).toBeNull();
});

test("a rejoin in the same epoch and phase changes nothing", () => {
  const known = { epoch: 1, phase: "sfu" };
  expect(planRejoin(order({}), "sfu", known, { ...NONE, server: "r1" })).toEqual({ plan: null, close: ["p2p"] });
});

test("a rejoin builds what was missed", () => {
  const { plan, close } = planRejoin(
    order({ epoch: 2 }),
    "sfu",
    { epoch: 1, phase: "p2p" },
    { ...NONE, direct: "bob" },
  );
  expect(plan).toMatchObject({ build: "server", use: "new" });
  expect(close).toEqual(["p2p"]);
});

test("a rejoin in a running change closes nothing", () => {
  const back = order({ mode: "p2p", epoch: 3, peer: "bob", initiator: true });
  const missed = planRejoin(back, "switching_to_p2p", { epoch: 2, phase: "sfu" }, { ...NONE, server: "r1" });
  expect(missed.close).toEqual([]);
  expect(missed.plan).toMatchObject({ build: "direct", offer: true });
});

test("a rejoin on a direct path that is there leaves it", () => {
  const same = order({ mode: "p2p", epoch: 0, peer: "bob", initiator: true });
  expect(planRejoin(same, "p2p", { epoch: 0, phase: "p2p" }, { ...NONE, direct: "bob" }).plan).toBeNull();
  expect(planRejoin({ ...same, peer: null }, "p2p", { epoch: 0, phase: "p2p" }, NONE).plan).toBeNull();
});

test("a rejoin after the room was lost builds it anew in the same epoch", () => {
  expect(planRejoin(order({}), "sfu", { epoch: 1, phase: "sfu" }, NONE).plan).toMatchObject({ use: "new" });
});

test("an older epoch is late, the same one is not", () => {
  expect([isLate(1, 2), isLate(2, 2), isLate(3, 2)]).toEqual([true, false, false]);
});

test("the path that is not that of the mode is closed", () => {
  expect([closedBy("sfu"), closedBy("p2p")]).toEqual(["p2p", "sfu"]);
});

test("a page waits until shortly before the deadline, whatever its clock says", () => {
  expect(patienceMs(10_000, 0)).toBe(9500);
  expect(patienceMs(null, 0)).toBe(9000);
  expect(patienceMs(10_000, 3_600_000)).toBe(9000);
  expect(patienceMs(3_600_000, 0)).toBe(9000);
});

const seen = { expected: 2, arrived: 2, unconsumed: 0, connected: true };
test.each([
  ["all is there", seen, 100, "confirm"],
  ["a track is missing", { ...seen, arrived: 1 }, 100, "wait"],
  ["a producer is not consumed", { ...seen, unconsumed: 1 }, 100, "wait"],
  ["it is not connected", { ...seen, connected: false }, 100, "wait"],
  ["one track stands still for long", { ...seen, arrived: 1 }, 6100, "confirm"],
  ["nothing came for long", { ...seen, arrived: 0 }, 6100, "wait"],
  ["nothing came in time", { ...seen, arrived: 0 }, 9000, "give-up"],
  ["some came in time", { ...seen, arrived: 1 }, 9000, "confirm"],
  ["nothing is expected", { ...seen, expected: 0, arrived: 0 }, 0, "confirm"],
] as const)("when %s", (_name, arrival, waited, verdict) => {
  expect(judgeArrival(arrival, waited, 9000)).toBe(verdict);
});
