/**
 * The message catalogue: every text that people see, by key and language.
 *
 * Keys and placeholders are checked by the compiler against the English catalogue; plurals and numbers are formatted by Intl.
 */

import { en } from "./en";

export type English = typeof en;
export type MessageKey = keyof English;

/** A text, or one for each plural form that the language has. */
export type Message = string | { readonly one: string; readonly other: string };
export type Catalogue = Readonly<Record<MessageKey, Message>>;

export type Language = "en" | "fr";
export const LANGUAGES: readonly Language[] = ["en", "fr"];

type PlaceholdersIn<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}`
  ? Name | PlaceholdersIn<Rest>
  : never;
type PlaceholdersOf<Key extends MessageKey> = English[Key] extends string
  ? PlaceholdersIn<English[Key]>
  : "count" | (English[Key] extends { other: infer Other extends string } ? PlaceholdersIn<Other> : never);

export type Values<Key extends MessageKey> = Readonly<
  Record<PlaceholdersOf<Key>, string | number> & Partial<Record<string, string | number>>
>;

/** The values a message needs: none for most. */
export type ValuesArgument<Key extends MessageKey> = [PlaceholdersOf<Key>] extends [never] ? [] : [values: Values<Key>];

export interface Translator {
  readonly language: Language;
  readonly direction: "ltr" | "rtl";
  readonly t: <Key extends MessageKey>(key: Key, ...values: ValuesArgument<Key>) => string;
  readonly number: (value: number, options?: Intl.NumberFormatOptions) => string;
  /** 75 → "1:15", 3675 → "1:01:15". */
  readonly duration: (seconds: number) => string;
  /** A duration for a screen reader or a sentence: "1 min 15 s". */
  readonly spokenDuration: (seconds: number) => string;
}

const catalogues: Partial<Record<Language, Catalogue>> = { en };

/** Fetch the catalogue of a language; English is always there. */
export async function loadCatalogue(language: Language): Promise<Catalogue> {
  const known = catalogues[language];
  if (known !== undefined) return known;
  const { fr } = await import("./fr");
  catalogues.fr = fr;
  return fr;
}

/** The first language of the list that there is a catalogue for, else English. */
export function chooseLanguage(preferred: readonly string[]): Language {
  for (const tag of preferred) {
    const primary = tag.toLowerCase().split("-")[0];
    const found = LANGUAGES.find((one) => one === primary);
    if (found !== undefined) return found;
  }
  return "en";
}

const RIGHT_TO_LEFT = new Set(["ar", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"]);

export function directionOf(language: string): "ltr" | "rtl" {
  return RIGHT_TO_LEFT.has(language.toLowerCase().split("-")[0] ?? "") ? "rtl" : "ltr";
}

export function createTranslator(
  language: Language,
  catalogue: Catalogue,
  direction: "ltr" | "rtl" = directionOf(language),
): Translator {
  const plural = new Intl.PluralRules(language);
  const integers = new Intl.NumberFormat(language);
  const number = (value: number, options?: Intl.NumberFormatOptions): string =>
    options === undefined ? integers.format(value) : new Intl.NumberFormat(language, options).format(value);
  const unit = (value: number, name: "hour" | "minute" | "second"): string =>
    number(value, { style: "unit", unit: name, unitDisplay: "short" });
  return {
    language,
    direction,
    number,
    t(key, ...values) {
      const given: Readonly<Record<string, string | number | undefined>> = values[0] ?? {};
      const message = catalogue[key];
      const text = typeof message === "string" ? message : pluralForm(message, plural, given["count"]);
      return text.replace(/\{(\w+)\}/g, (placeholder, name: string) => {
        const value = given[name];
        if (value === undefined) return placeholder;
        return typeof value === "number" ? integers.format(value) : value;
      });
    },
    duration(seconds) {
      const { hours, minutes, rest } = split(seconds);
      const two = (part: number): string => String(part).padStart(2, "0");
      return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
    },
    spokenDuration(seconds) {
      const { hours, minutes, rest } = split(seconds);
      const parts: string[] = [];
      if (hours > 0) parts.push(unit(hours, "hour"));
      if (minutes > 0) parts.push(unit(minutes, "minute"));
      if (rest > 0 || parts.length === 0) parts.push(unit(rest, "second"));
      return parts.join(" ");
    },
  };
}

function pluralForm(
  message: { readonly one: string; readonly other: string },
  rules: Intl.PluralRules,
  count: string | number | undefined,
): string {
  return rules.select(Number(count ?? 0)) === "one" ? message.one : message.other;
}

function split(seconds: number): { hours: number; minutes: number; rest: number } {
  const whole = Math.max(0, Math.floor(seconds));
  return { hours: Math.floor(whole / 3600), minutes: Math.floor((whole % 3600) / 60), rest: whole % 60 };
}
