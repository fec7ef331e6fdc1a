import { expect, test } from "vitest";
import { checked, problem, WireError } from "../../src/wire/check";
import { ANSWERS, EVENTS, SHAPES } from "../../src/wire/gateway";

const toggled = { callId: "c", participantId: "p", mediaType: "audio", enabled: false };

test("a payload as the schema has it passes, unknown fields are ignored", () => {
  expect(problem(SHAPES, EVENTS["call:media-toggled"], { ...toggled, more: 1 }, "call:media-toggled")).toBeNull();
});

test("a missing field is named with its path", () => {
  const { enabled, ...rest } = toggled;
  expect(enabled).toBe(false);
  expect(problem(SHAPES, EVENTS["call:media-toggled"], rest, "call:media-toggled")).toBe(
    "call:media-toggled.enabled: is missing",
  );
});

test("a wrong value of a closed list names the values", () => {
  expect(problem(SHAPES, EVENTS["call:media-toggled"], { ...toggled, mediaType: "smell" }, "event")).toBe(
    "event.mediaType: must be one of audio, video, screen",
  );
});

test.each([
  ["s", 1, "text"],
  ["n", "1", "a number"],
  ["n", Number.NaN, "a number"],
  ["i", 1.5, "an integer"],
  ["b", 0, "true or false"],
  ["0", undefined, "null"],
  ["o", [], "an object"],
])("%s refuses %s", (shape, value, words) => {
  expect(problem({}, shape, value, "x")).toBe(`x: must be ${words}`);
});

test("arrays are checked item by item", () => {
  expect(problem({}, ["a", "i"], [1, "2"], "list")).toBe("list[1]: must be an integer");
  expect(problem({}, ["a", "i"], {}, "list")).toBe("list: must be an array");
});

test("of several choices the deepest problem is reported", () => {
  const shapes = { Pair: { left: "i", right: "i" } };
  expect(problem(shapes, ["u", "0", "#Pair"], { left: 1, right: "no" }, "pair")).toBe("pair.right: must be an integer");
  expect(problem(shapes, ["u", "0", "#Pair"], null, "pair")).toBeNull();
});

test("an object's optional field may be absent, not wrong", () => {
  expect(problem({}, { "a?": "s" }, {}, "x")).toBeNull();
  expect(problem({}, { "a?": "s" }, { a: 1 }, "x")).toBe("x.a: must be text");
  expect(problem({}, { a: "s" }, null, "x")).toBe("x: must be an object");
});

test("what does not fit is a WireError", () => {
  expect(() => checked(SHAPES, ANSWERS["call:join"], { callId: 1 }, "call:join")).toThrow(WireError);
  expect(checked({}, undefined, 5, "anything goes")).toBe(5);
});
