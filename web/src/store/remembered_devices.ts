/** Open the devices that were chosen at an earlier visit, or others if those are gone. */

import { openDevices, type DeviceWish, type OpenedDevices } from "../media/devices";

export interface Remembered {
  readonly microphoneId: string | null;
  readonly cameraId: string | null;
}

export async function openRemembered(
  wish: Pick<DeviceWish, "audio" | "video">,
  { microphoneId, cameraId }: Remembered,
): Promise<OpenedDevices> {
  const chosen = {
    ...(microphoneId === null ? {} : { audioId: microphoneId }),
    ...(cameraId === null ? {} : { videoId: cameraId }),
  };
  const found = await openDevices({ ...wish, ...chosen });
  const missing = (kind: "audio" | "video", id: string | null): boolean =>
    id !== null && found.problems.some((problem) => problem.kind === kind && problem.code === "no-device");
  const again = { audio: missing("audio", microphoneId), video: missing("video", cameraId) };
  if (!again.audio && !again.video) return found;
  const others = await openDevices(again);
  return {
    audio: found.audio ?? others.audio,
    video: found.video ?? others.video,
    problems: [...found.problems.filter((problem) => !again[problem.kind]), ...others.problems],
  };
}

type Kind = "audio" | "video";

interface Request {
  readonly kind: Kind;
  readonly id: string | null;
  readonly done: (found: OpenedDevices) => void;
}

let requests: Request[] = [];

/** Open one device. Requests of one moment are made together, so that the browser asks the person once, not twice. */
export function openOne(kind: Kind, id: string | null): Promise<OpenedDevices> {
  return new Promise((done) => {
    requests.push({ kind, id, done });
    if (requests.length === 1) queueMicrotask(() => void openRequested());
  });
}

async function openRequested(): Promise<void> {
  const round = requests;
  requests = [];
  const last = (kind: Kind): Request | undefined => round.findLast((one) => one.kind === kind);
  const audio = last("audio");
  const video = last("video");
  const wish = { audio: audio !== undefined, video: video !== undefined };
  const found = await openRemembered(wish, { microphoneId: audio?.id ?? null, cameraId: video?.id ?? null });
  for (const request of round) {
    const answered = request === audio || request === video;
    const problems = found.problems.filter((problem) => problem.kind === request.kind);
    const track = answered ? found[request.kind] : null; // an earlier request of the same device was overtaken
    request.done({ audio: null, video: null, [request.kind]: track, problems });
  }
}
