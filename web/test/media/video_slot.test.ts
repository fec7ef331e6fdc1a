import { beforeEach, expect, test, vi } from "vitest";
import { prime, still, VideoSlot } from "../../src/media/remote_video";
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
  const stills: MediaStreamTrack[] = [];
  const takeStill = () => {
    const one = fakeTrack("video");
    stills.push(one);
    return one;
  };
  return { waiting, stills, slot: new VideoSlot(primer, takeStill) };
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

test("a held picture is shown in the same stream until the next track is decoded, and then released", async () => {
  const { slot, waiting, stills } = byHand();
  const element = document.createElement("video");
  slot.attach(element);
  const [old, fresh] = [fakeTrack("video"), fakeTrack("video")];
  slot.replace(old);
  waiting[0]!.ready();
  await settle();
  const stream = element.srcObject;
  slot.hold();
  slot.hold();
  expect(stills).toHaveLength(1);
  expect(shownIn(element)).toEqual(stills);
  slot.replace(fresh);
  expect(shownIn(element)).toEqual(stills);
  expect([slot.hasFrame, stills[0]!.readyState]).toEqual([true, "live"]);
  waiting[1]!.ready();
  await settle();
  expect(shownIn(element)).toEqual([fresh]);
  expect(element.srcObject).toBe(stream);
  expect([slot.hasFrame, stills[0]!.readyState]).toEqual([true, "ended"]);
});

test("a track that was held comes back when it is decoded again", async () => {
  const { slot, waiting, stills } = byHand();
  const track = fakeTrack("video");
  slot.replace(track);
  waiting[0]!.ready();
  await settle();
  slot.hold();
  slot.replace(track);
  expect(slot.track).toBe(stills[0]);
  waiting[1]!.ready();
  await settle();
  expect(slot.track).toBe(track);
});

test("without a picture there is nothing to hold, and a held one ends with the slot", async () => {
  const { slot, waiting, stills } = byHand();
  slot.hold();
  slot.replace(fakeTrack("video"));
  slot.hold();
  expect(stills).toEqual([]);
  waiting[0]!.ready();
  await settle();
  slot.hold();
  slot.clear();
  expect([slot.track, slot.hasFrame, stills[0]!.readyState]).toEqual([null, false, "ended"]);
});

test("a still is taken of an element that has a picture, and of no other", () => {
  const drawn: unknown[] = [];
  const track = fakeTrack("video");
  const canvas = {
    width: 0,
    height: 0,
    getContext: () => ({ drawImage: (from: unknown) => drawn.push(from) }),
    captureStream: () => new MediaStream([track]),
  };
  const element = (readyState: number) =>
    ({ readyState, HAVE_CURRENT_DATA: 2, videoWidth: 640, videoHeight: 360 }) as unknown as HTMLVideoElement;
  const [empty, full] = [element(1), element(2)];
  const create = vi.spyOn(document, "createElement").mockReturnValue(canvas as unknown as HTMLElement);
  expect(still([empty])).toBeNull();
  expect(still([empty, full])).toBe(track);
  expect([drawn, canvas.width, canvas.height]).toEqual([[full], 640, 360]);
  create.mockRestore();
});
