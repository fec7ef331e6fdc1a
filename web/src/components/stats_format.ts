/** Figures of tracks as texts. Pure. */

import type { TrackStats } from "../call/model";
import type { Translator } from "../messages/catalogue";

/** Stands where there is no figure. */
export const NO_FIGURE = "–";

export function bitrate(bps: number | null, { number }: Translator): string {
  if (bps === null) return NO_FIGURE;
  const kilo = bps / 1000;
  return kilo >= 1000
    ? `${number(kilo / 1000, { maximumFractionDigits: 1, minimumFractionDigits: 1 })} Mbit/s`
    : `${number(Math.round(kilo))} kbit/s`;
}

export function percent(ratio: number | null, { number }: Translator): string {
  return ratio === null ? NO_FIGURE : number(ratio, { style: "percent", maximumFractionDigits: 1 });
}

export function milliseconds(ms: number | null, { number }: Translator): string {
  return ms === null ? NO_FIGURE : `${number(ms, { maximumFractionDigits: ms < 10 ? 1 : 0 })} ms`;
}

/** `video/VP8` → `VP8`: the kind stands beside it anyway. */
export function codec(name: string | null): string {
  return name?.split("/").at(-1) ?? NO_FIGURE;
}

export function resolution({ width, height }: Pick<TrackStats, "width" | "height">): string {
  return width === null || height === null ? NO_FIGURE : `${width}×${height}`;
}

/** The points of a sparkline in a box of the given size, in pieces: a missing value leaves a gap. */
export function sparkline(
  values: readonly (number | null)[],
  length: number,
  box: { readonly width: number; readonly height: number },
): readonly string[] {
  const top = Math.max(1, ...values.map((value) => value ?? 0));
  const step = box.width / Math.max(1, length - 1);
  const start = length - values.length; // the newest value is at the end, however few there are
  const pieces: string[][] = [[]];
  values.forEach((value, index) => {
    if (value === null) {
      if (pieces.at(-1)?.length !== 0) pieces.push([]);
      return;
    }
    const x = (start + index) * step;
    const y = box.height - (value / top) * box.height;
    pieces.at(-1)?.push(`${x.toFixed(1)},${y.toFixed(1)}`);
  });
  return pieces.filter((piece) => piece.length > 0).map((piece) => piece.join(" "));
}
