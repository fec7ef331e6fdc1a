import { expect, test } from "vitest";
import { Emitter } from "../../src/call/emitter";
import { codeOfRefusal, failureOf } from "../../src/call/failures";
import { RefusedError, UnreachableError, unwrapped } from "../../src/wire/errors";

test.each([
  ["UNAUTHORIZED", "the token has expired", "token-expired"],
  ["UNAUTHORIZED", "the token's iat is in the future", "clock-skew"],
  ["UNAUTHORIZED", "the signature is wrong", "token-invalid"],
  ["MAX_PARTICIPANTS_REACHED", "50", "call-full"],
  ["CALL_ENDED", "it is over", "call-ended"],
  ["RATE_LIMIT_EXCEEDED", "slow down", "rate-limited"],
  ["SOMETHING_NEW", "?", "unknown"],
  [null, "websocket error", "gateway-unreachable"],
] as const)("%s with '%s' is %s", (code, message, expected) => {
  expect(codeOfRefusal(code, message)).toBe(expected);
});

test("errors become failures with their words", () => {
  const refused = new RefusedError("call:join", { code: "CALL_ENDED", message: "over" });
  expect(failureOf(refused)).toEqual({ code: "call-ended", message: "call:join: CALL_ENDED: over", diagnosis: null });
  expect(failureOf(new UnreachableError("no answer")).code).toBe("gateway-unreachable");
  expect(failureOf(Object.assign(new Error("h264"), { name: "UnsupportedError" })).code).toBe("unsupported-browser");
  expect(failureOf("words")).toMatchObject({ code: "unknown", message: "words" });
});

test("an envelope gives its data, or its error", () => {
  expect(unwrapped("x", { success: true, data: 5 })).toBe(5);
  expect(() => unwrapped("x", null)).toThrow(UnreachableError);
  expect(() => unwrapped("x", { success: false })).toThrow("x: UNKNOWN");
  const limited = { success: false, error: { code: "RATE_LIMIT_EXCEEDED", message: "m" }, retryAfter: 3 };
  try {
    unwrapped("x", limited);
    expect.unreachable();
  } catch (error) {
    expect(error).toMatchObject({ code: "RATE_LIMIT_EXCEEDED", retryAfterS: 3 });
  }
});

test("an event reaches those who listen, until they stop", () => {
  const emitter = new Emitter<{ n: number }>();
  const heard: number[] = [];
  const stop = emitter.on("n", (value) => heard.push(value));
  emitter.emit("n", 1);
  stop();
  emitter.emit("n", 2);
  expect(heard).toEqual([1]);
});
