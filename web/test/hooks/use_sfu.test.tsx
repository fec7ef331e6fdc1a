import "../browser";
import { act, render, screen } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import {
  useSFUConnection,
  useSFUConsumers,
  useSFUProducers,
  useSFUState,
  type Manager,
  type SFUSurroundings,
} from "../../src/hooks/use_sfu";
import type { RemoteTrack } from "../../src/media/arrival";
import type { LocalTracks } from "../../src/media/source";
import type { SFUOptions } from "../../src/sfu/sfu_connection_manager";

const SURROUNDINGS: SFUSurroundings = {
  url: "https://media.example",
  token: "t",
  participantId: "me",
  freshToken: () => Promise.resolve("t2"),
};
const CAPABILITIES = { codecs: [] };
const OFF = { track: null, muted: false };
const SILENT: LocalTracks = { microphone: OFF, camera: OFF, screen: OFF };
const MUTED: LocalTracks = { ...SILENT, microphone: { track: null, muted: true } };

/** Notes what the hooks ask of a manager; the test plays the media server's part. */
class ManagerDouble implements Manager {
  readonly asked: string[] = [];
  remoteTracks: readonly RemoteTrack[] = [];
  opening: Promise<void> = Promise.resolve();
  sending: Promise<void> = Promise.resolve();
  constructor(readonly options: SFUOptions) {}
  open(): Promise<void> {
    this.asked.push("open");
    return this.opening;
  }
  setTracks(tracks: LocalTracks): Promise<void> {
    this.asked.push(tracks.microphone.muted ? "send muted" : "send");
    return this.sending;
  }
  watch(visible: ReadonlySet<string> | null): void {
    this.asked.push(`watch ${visible === null ? "all" : [...visible].join()}`);
  }
  close(): void {
    this.asked.push("close");
  }
}

interface PageProps {
  readonly callId: string;
  readonly make: (options: SFUOptions) => Manager;
  readonly tracks: LocalTracks;
  readonly visible: ReadonlySet<string> | null;
}

function Page({ callId, make, tracks, visible }: PageProps) {
  const connection = useSFUConnection(callId, CAPABILITIES, SURROUNDINGS, make);
  const { stage, reason } = useSFUState(connection);
  const error = useSFUProducers(connection, tracks);
  const received = useSFUConsumers(connection, visible).map((one) => one.participantId);
  return <p role="status">{[stage, reason, error, ...received].filter((one) => one !== null).join(" ")}</p>;
}

async function show(prepare: (manager: ManagerDouble) => void = () => undefined) {
  const managers: ManagerDouble[] = [];
  const make = (options: SFUOptions): Manager => {
    const made = new ManagerDouble(options);
    prepare(made);
    managers.push(made);
    return made;
  };
  const page = (changed: Partial<PageProps>) => (
    <Page callId="call-1" make={make} tracks={SILENT} visible={null} {...changed} />
  );
  const { rerender, unmount } = render(page({}));
  const settled = () => act(() => new Promise((resolve) => setTimeout(resolve)));
  await settled();
  const change = async (changed: Partial<PageProps>) => {
    rerender(page(changed));
    await settled();
  };
  return { managers, first: managers[0]!, change, unmount };
}

const text = (): string => screen.getByRole("status").textContent;

describe("a connection to the media server", () => {
  it("is opened with the call and its capabilities, sends, receives, and is closed with the component", async () => {
    const { first, unmount } = await show();
    expect(first.options).toMatchObject({ callId: "call-1", rtpCapabilities: CAPABILITIES, paused: false });
    expect([...first.asked].sort()).toEqual(["open", "send", "watch all"]);
    expect(text()).toBe("connected");
    unmount();
    expect(first.asked.at(-1)).toBe("close");
  });

  it("of another call takes the place of the former", async () => {
    const { managers, first, change } = await show();
    await change({ callId: "call-2" });
    expect(first.asked).toContain("close");
    expect(managers.map((one) => one.options.callId)).toEqual(["call-1", "call-2"]);
  });

  it("says when it is interrupted, back, and lost for good", async () => {
    const { first } = await show();
    act(() => first.options.onState(false));
    expect(text()).toBe("disconnected");
    act(() => first.options.onState(true));
    expect(text()).toBe("connected");
    act(() => first.options.onLost("ROOM_NOT_FOUND"));
    act(() => first.options.onState(true));
    expect(text()).toBe("lost ROOM_NOT_FOUND");
  });

  it("that cannot be opened says why, and sends nothing", async () => {
    const { first } = await show((manager) => {
      manager.opening = Promise.reject(new Error("the token has ended"));
    });
    expect(text()).toBe("lost the token has ended");
    expect(first.asked).not.toContain("send");
  });
});

describe("producers", () => {
  it("follow the tracks, and are left alone while those are the same", async () => {
    const { first, change } = await show();
    await change({ tracks: { ...SILENT } });
    await change({ tracks: MUTED });
    expect(first.asked.filter((one) => one.startsWith("send"))).toEqual(["send", "send muted"]);
  });

  it("say why they failed, until they succeed", async () => {
    const { first, change } = await show((manager) => {
      manager.sending = Promise.reject(new Error("too many producers"));
      manager.sending.catch(() => undefined); // until the hook asks for it
    });
    expect(text()).toBe("connected too many producers");
    first.sending = Promise.resolve();
    await change({ tracks: MUTED });
    expect(text()).toBe("connected");
  });
});

describe("consumers", () => {
  it("are those that the connection has, as they come and end", async () => {
    const { first } = await show();
    const track = { participantId: "bob", source: "camera", track: {} as MediaStreamTrack } as const;
    first.remoteTracks = [track];
    act(() => first.options.onTrack(track));
    expect(text()).toBe("connected bob");
    first.remoteTracks = [];
    act(() => first.options.onTrackEnded(track));
    expect(text()).toBe("connected");
  });

  it("are limited to those who are visible", async () => {
    const { first, change } = await show();
    await change({ visible: new Set(["bob", "eve"]) });
    expect(first.asked.at(-1)).toBe("watch bob,eve");
  });
});
