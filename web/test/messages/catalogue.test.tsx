import { render, screen, waitFor } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import {
  LANGUAGES,
  chooseLanguage,
  createTranslator,
  directionOf,
  loadCatalogue,
  type Catalogue,
  type Message,
} from "../../src/messages/catalogue";
import { en } from "../../src/messages/en";
import { fr } from "../../src/messages/fr";
import { LanguageProvider, useTranslator } from "../../src/messages/language";

function placeholders(message: Message): string[] {
  const texts = typeof message === "string" ? [message] : [message.one, message.other];
  return [
    ...new Set(texts.flatMap((text) => [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1] as string))),
  ].sort();
}

describe("the catalogues", () => {
  it("have the same keys, placeholders and plural forms in all languages", async () => {
    for (const language of LANGUAGES) {
      const catalogue: Catalogue = await loadCatalogue(language);
      expect(Object.keys(catalogue).sort()).toEqual(Object.keys(en).sort());
      for (const [key, message] of Object.entries(en) as [keyof typeof en, Message][]) {
        const other = catalogue[key];
        expect([key, placeholders(other)]).toEqual([key, placeholders(message)]);
        expect([key, typeof other]).toEqual([key, typeof message]);
        for (const text of typeof other === "string" ? [other] : [other.one, other.other])
          expect(text.trim()).not.toBe("");
      }
    }
  });

  it("are really translated", () => {
    const equal = (Object.keys(en) as (keyof typeof en)[]).filter((key) => en[key] === fr[key]);
    expect(equal.sort()).toEqual(
      ["app.name", "call.direct", "diagnosis.check.udp", "diagnosis.check.tcp", "stats.codec"]
        .filter((key) => equal.includes(key as keyof typeof en))
        .sort(),
    );
  });
});

describe("a translator", () => {
  const english = createTranslator("en", en);
  const french = createTranslator("fr", fr);

  it("puts values into their places and formats numbers in its language", () => {
    expect(english.t("grid.you", { name: "Ada" })).toBe("Ada (you)");
    expect(english.t("call.people", { count: 1234 })).toBe("1,234 people");
    expect(french.t("call.people", { count: 1234 })).toMatch(/^1\s234 personnes$/u);
  });

  it("chooses the plural form by the rules of its language: zero is singular in French", () => {
    expect(english.t("call.people", { count: 0 })).toBe("0 people");
    expect(english.t("call.people", { count: 1 })).toBe("1 person");
    expect(french.t("call.people", { count: 0 })).toBe("0 personne");
    expect(french.t("call.people", { count: 2 })).toBe("2 personnes");
  });

  it("does not take a name for a placeholder or a pattern", () => {
    expect(english.t("live.joined", { count: 1, name: "{name} $& <b>" })).toBe("{name} $& <b> has joined");
  });

  it("writes durations for the eye and for the ear", () => {
    expect(english.duration(5)).toBe("0:05");
    expect(english.duration(3675)).toBe("1:01:15");
    expect(english.duration(-3)).toBe("0:00");
    expect(english.spokenDuration(75)).toBe("1 min 15 sec");
    expect(english.spokenDuration(0)).toBe("0 sec");
    expect(french.spokenDuration(3600)).toMatch(/^1\sh$/u);
  });
});

describe("the language", () => {
  it("is the first preferred one that there is", () => {
    expect(chooseLanguage(["de-DE", "fr-CA", "en"])).toBe("fr");
    expect(chooseLanguage(["de"])).toBe("en");
    expect(chooseLanguage([])).toBe("en");
  });

  it("has a direction", () => {
    expect(directionOf("ar-EG")).toBe("rtl");
    expect(directionOf("fr")).toBe("ltr");
  });

  it("of the document and of all texts follows the provider", async () => {
    function Title() {
      return <h1>{useTranslator().t("prejoin.join")}</h1>;
    }
    const { rerender } = render(
      <LanguageProvider language="en">
        <Title />
      </LanguageProvider>,
    );
    expect(screen.getByRole("heading").textContent).toBe("Join now");
    rerender(
      <LanguageProvider language="fr" direction="rtl">
        <Title />
      </LanguageProvider>,
    );
    await waitFor(() => expect(screen.getByRole("heading").textContent).toBe("Participer"));
    await waitFor(() => expect(document.documentElement.lang).toBe("fr"));
    expect(document.documentElement.dir).toBe("rtl");
  });
});
