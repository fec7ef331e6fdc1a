import { beforeEach, describe, expect, it, vi } from "vitest";
import { VideoSlot } from "../../src/media/remote_video";

/** A stream as far as the slot needs one; jsdom has none. */
class Stream {
  constructor(readonly tracks: MediaStreamTrack[]) {}
  addTrack(track: MediaStreamTrack): void {
    this.tracks.push(track);
  }
  removeTrack(track: MediaStreamTrack): void {
    this.tracks.splice(this.tracks.indexOf(track), 1);
  }
}

const track = (id: string): MediaStreamTrack => ({ id }) as MediaStreamTrack;

/** Tracks whose first picture comes when the test says so. */
function decoders() {
  const waiting = new Map<MediaStreamTrack, () => void>();
  const open = new Set<MediaStreamTrack>();
  const prime = (given: MediaStreamTrack) => {
    open.add(given);
    const ready = new Promise<void>((done) => waiting.set(given, done));
    return { ready, close: () => void open.delete(given) };
  };
  const decode = async (given: MediaStreamTrack): Promise<void> => {
    waiting.get(given)?.();
    await Promise.resolve();
    await Promise.resolve();
  };
  return { prime, decode, open };
}

describe("the picture of a participant", () => {
  beforeEach(() => vi.stubGlobal("MediaStream", Stream));

  it("keeps what is shown until the next track has a picture", async () => {
    const { prime, decode, open } = decoders();
    const slot = new VideoSlot(prime);
    const [old, next] = [track("old"), track("next")];
    slot.replace(old);
    expect(slot.hasFrame).toBe(false);
    await decode(old);
    expect(slot.hasFrame).toBe(true);
    slot.replace(next);
    expect(slot.track).toBe(old);
    await decode(next);
    expect([slot.track, slot.hasFrame]).toEqual([next, true]);
    expect(open.size).toBe(0);
  });

  it("has a picture when the shown track decodes, although another track that has none was announced meanwhile", async () => {
    const { prime, decode, open } = decoders();
    const slot = new VideoSlot(prime);
    const [shown, heldReady] = [track("shown"), track("held ready")];
    slot.replace(shown);
    slot.replace(heldReady);
    await decode(shown);
    expect([slot.track, slot.hasFrame]).toEqual([shown, true]);
    await decode(heldReady);
    expect([slot.track, slot.hasFrame]).toEqual([heldReady, true]);
    expect(open.size).toBe(0);
  });

  it("goes back to what is shown when the next track is dropped", async () => {
    const { prime, decode, open } = decoders();
    const slot = new VideoSlot(prime);
    const [shown, dropped] = [track("shown"), track("dropped")];
    slot.replace(shown);
    slot.replace(dropped);
    slot.replace(shown);
    await decode(dropped);
    expect([slot.track, slot.hasFrame]).toEqual([shown, false]);
    await decode(shown);
    expect([slot.track, slot.hasFrame]).toEqual([shown, true]);
    expect(open.size).toBe(0);
  });

  it("shows nothing after it was cleared, whatever decodes later", async () => {
    const { prime, decode, open } = decoders();
    const slot = new VideoSlot(prime);
    const heard: boolean[] = [];
    slot.subscribe(() => heard.push(slot.hasFrame));
    const [one] = [track("one")];
    slot.replace(one);
    slot.clear();
    await decode(one);
    expect([slot.track, slot.hasFrame, heard, open.size]).toEqual([null, false, [], 0]);
  });
});
