import { beforeEach, expect, test, vi } from "vitest";
import { prime, VideoSlot } from "../../src/media/remote_video";
import { fakeTrack, installMedia } from "./fake_media";

beforeEach(installMedia);

/** A primer whose pictures come when the test says. */
function byHand() {
  const waiting: { track: MediaStreamTrack; ready: () => void; closed: boolean }[] = [];
  const primer = (track: MediaStreamTrack) => {
    const entry: (typeof waiting)[number] = { track, ready: () => undefined, closed: false };
    const ready = new Promise<void>((done) => (entry.ready = done));
    waiting.push(entry);
    return { ready, close: () => void (entry.closed = true) };
  };
  return { waiting, slot: new VideoSlot(primer) };
}
const shownIn = (element: HTMLVideoElement) => (element.srcObject as MediaStream | null)?.getTracks() ?? [];
const settle = () => new Promise((done) => setTimeout(done));

test("the first track is shown at once, and has a frame when it is decoded", async () => {
  const { slot, waiting } = byHand();
  const element = document.createElement("video");
  const changed = vi.fn();
  slot.subscribe(changed);
  slot.attach(element);
  const track = fakeTrack("video");
  slot.replace(track);
  expect(shownIn(element)).toEqual([track]);
  expect(slot.hasFrame).toBe(false);
  waiting[0]!.ready();
  await settle();
  expect(slot.hasFrame).toBe(true);
  expect(changed).toHaveBeenCalledOnce();
  expect(waiting[0]!.closed).toBe(true);
});

test("an old picture stays in the same stream until the new one is decoded", async () => {
  const { slot, waiting } = byHand();
  const element = document.createElement("video");
  slot.attach(element);
  const [old, fresh] = [fakeTrack("video"), fakeTrack("video")];
  slot.replace(old);
  waiting[0]!.ready();
  await settle();
  const stream = element.srcObject;
  slot.replace(fresh);
  slot.replace(fresh);
  expect(waiting).toHaveLength(2);
  expect(shownIn(element)).toEqual([old]);
  waiting[1]!.ready();
  await settle();
  expect(shownIn(element)).toEqual([fresh]);
  expect(element.srcObject).toBe(stream);
  expect(slot.hasFrame).toBe(true);
});

test("going back before the new picture came leaves the old one", async () => {
  const { slot, waiting } = byHand();
  const [old, fresh] = [fakeTrack("video"), fakeTrack("video")];
  slot.replace(old);
  waiting[0]!.ready();
  await settle();
  slot.replace(fresh);
  slot.replace(old);
  waiting[1]!.ready();
  await settle();
  expect(slot.track).toBe(old);
  expect(waiting[1]!.closed).toBe(true);
});

test("the shown track has a frame when it is decoded, although the call has begun to change its path", async () => {
  const { slot, waiting } = byHand();
  const [shown, next] = [fakeTrack("video"), fakeTrack("video")];
  slot.replace(shown);
  slot.replace(next);
  waiting[0]!.ready();
  await settle();
  expect([slot.track, slot.hasFrame]).toEqual([shown, true]);
  waiting[1]!.ready();
  await settle();
  expect([slot.track, slot.hasFrame]).toEqual([next, true]);
  expect(waiting.map((one) => one.closed)).toEqual([true, true]);
});

test("going back before either picture came waits for that of the shown track", async () => {
  const { slot, waiting } = byHand();
  const [shown, dropped] = [fakeTrack("video"), fakeTrack("video")];
  slot.replace(shown);
  slot.replace(dropped);
  slot.replace(shown);
  waiting[1]!.ready();
  await settle();
  expect([slot.track, slot.hasFrame]).toEqual([shown, false]);
  waiting[0]!.ready();
  await settle();
  expect([slot.track, slot.hasFrame]).toEqual([shown, true]);
  expect(waiting.map((one) => one.closed)).toEqual([true, true]);
});

test("an element that comes later shows what there is, and nothing after it is detached", () => {
  const { slot } = byHand();
  const track = fakeTrack("video");
  slot.replace(track);
  const element = document.createElement("video");
  const detach = slot.attach(element);
  expect(shownIn(element)).toEqual([track]);
  detach();
  expect(element.srcObject).toBeNull();
});

test("a cleared slot shows nothing and has no frame", async () => {
  const { slot, waiting } = byHand();
  const element = document.createElement("video");
  slot.attach(element);
  slot.replace(fakeTrack("video"));
  waiting[0]!.ready();
  await settle();
  slot.clear();
  expect(element.srcObject).toBeNull();
  expect(slot.hasFrame).toBe(false);
});

test("a slot that was cleared shows nothing, whatever is decoded later", async () => {
  const { slot, waiting } = byHand();
  const changed = vi.fn();
  slot.subscribe(changed);
  slot.replace(fakeTrack("video"));
  slot.clear();
  waiting[0]!.ready();
  await settle();
  expect([slot.track, slot.hasFrame, waiting[0]!.closed]).toEqual([null, false, true]);
  expect(changed).not.toHaveBeenCalled();
});

test("a listener that stopped is not called", () => {
  const { slot } = byHand();
  const changed = vi.fn();
  slot.subscribe(changed)();
  slot.clear();
  expect(changed).not.toHaveBeenCalled();
});

test("a track is primed by an element of its own, until its data is there", async () => {
  const create = vi.spyOn(document, "createElement");
  const primer = prime(fakeTrack("video"));
  const element = create.mock.results.at(-1)!.value as HTMLVideoElement;
  expect(element.muted).toBe(true);
  element.dispatchEvent(new Event("loadeddata"));
  await primer.ready;
  primer.close();
  expect(element.srcObject).toBeNull();
});
