/** Figures of a running call: read when asked for, steadily for the quality shown, and now and then for the gateway. */
import type { QualityBody } from "../wire/gateway";
import { qualities, StatsReader, type PathReports } from "./call_stats";
import type { MediaPaths } from "./media_paths";
import type { CallSummary, Quality, TrackStats } from "./model";

const REPORT_EVERY = 5;

export class CallFigures {
  // Of the same connections, each with its own time between readings.
  readonly #asked = new StatsReader();
  readonly #steady = new StatsReader();
  readonly #reported = new StatsReader();
  #reads = 0;
  /** Completed changes of path. */
  switches = 0;

  async tracks(paths: MediaPaths | null, self: string): Promise<readonly TrackStats[]> {
    return this.#asked.read(await reportsOf(paths), self, performance.now()).tracks;
  }

  /** Read on; `report` is what the gateway is to know, every fifth time. */
  async tick(
    paths: MediaPaths | null,
    self: string,
  ): Promise<{ readonly quality: ReadonlyMap<string, Quality | null>; readonly report: QualityBody | null }> {
    const reports = await reportsOf(paths);
    const now = performance.now();
    const { tracks } = this.#steady.read(reports, self, now);
    const due = this.#reads % REPORT_EVERY === 0;
    this.#reads += 1;
    const report = due ? this.#reported.read(reports, self, now).report : null;
    return { quality: qualities(tracks), report };
  }

  summary(durationS: number, reason: string): CallSummary {
    return this.#steady.summary(durationS, reason, this.switches);
  }
}

/** The statistics of the paths that are open. */
export async function reportsOf(paths: MediaPaths | null): Promise<PathReports[]> {
  const direct = paths?.direct;
  const server = paths?.server;
  const found: PathReports[] = [];
  if (direct && !direct.closed) {
    const sourceOfTrack = (id: string) => direct.sourceOfTrack(id);
    found.push({ mode: "p2p", reports: [await direct.report()], remote: direct.remoteTracks, sourceOfTrack });
  }
  if (server && !server.closed) {
    const reports = (await server.reports()).map((one) => one.report);
    const sourceOfTrack = (id: string) => server.sourceOfTrack(id);
    found.push({ mode: "sfu", reports, remote: server.remoteTracks, sourceOfTrack });
  }
  return found;
}
