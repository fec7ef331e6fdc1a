/** What stands in a tile without video. Pure. */

export const HUES = 8;

/** First letters of the first and last word; a letter may be more than one code unit. */
export function initialsOf(name: string): string {
  const words = name
    .trim()
    .split(/\s+/u)
    .filter((word) => word !== "");
  const first = words[0];
  if (first === undefined) return "?";
  const last = words.length > 1 ? words[words.length - 1] : undefined;
  return (firstLetter(first) + (last === undefined ? "" : firstLetter(last))).toLocaleUpperCase();
}

function firstLetter(word: string): string {
  const segment = new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(word)[Symbol.iterator]().next();
  return segment.done === true ? "" : segment.value.segment;
}

/** A colour that stays with a participant: the number of one of the classes `hue-…`. */
export function hueOf(id: string): number {
  let hash = 0;
  for (const letter of id) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) >>> 0;
  return hash % HUES;
}
