import { expect, test } from "vitest";
import { claimsOf, clockBehindS, renewInMs } from "../../src/call/user_token";

const token = (claims: object) => `e30.${btoa(JSON.stringify(claims)).replace(/=+$/, "")}.x`;

test("claims are read without verifying", () => {
  expect(claimsOf(token({ iat: 1, exp: 2 }))).toEqual({ iat: 1, exp: 2 });
  expect(claimsOf("nonsense")).toEqual({ iat: null, exp: null });
  expect(claimsOf(token({ exp: "later" }))).toEqual({ iat: null, exp: null });
});

test("an hour's token is renewed a minute before it ends", () => {
  expect(renewInMs({ iat: 0, exp: 3600 }, 0)).toBe(3_540_000);
});

test("a short one is renewed a fifth of its life before", () => {
  expect(renewInMs({ iat: 100, exp: 110 }, 100_000)).toBe(8000);
});

test("an expired one is renewed now, one without an end never", () => {
  expect(renewInMs({ iat: 0, exp: 10 }, 60_000)).toBe(0);
  expect(renewInMs({ iat: 0, exp: null }, 0)).toBeNull();
});

test("a clock that is behind does not delay the renewal", () => {
  expect(clockBehindS({ iat: 10_000, exp: null }, 0)).toBe(10_000);
  expect(clockBehindS({ iat: 30, exp: null }, 0)).toBe(0);
  expect(renewInMs({ iat: 10_000, exp: 10_100 }, 0)).toBe(80_000);
});
