/** The language of the page, for all components: `useTranslator().t("key")`. */

import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import {
  createTranslator,
  directionOf,
  loadCatalogue,
  type Catalogue,
  type Language,
  type Translator,
} from "./catalogue";
import { en } from "./en";

const TranslatorContext = createContext<Translator>(createTranslator("en", en));

export function useTranslator(): Translator {
  return useContext(TranslatorContext);
}

interface Props {
  readonly language: Language;
  /** Against the language's own direction; for trying the layout out. */
  readonly direction?: "ltr" | "rtl";
  readonly children: ReactNode;
}

/** Hand the texts of a language to everything inside. Until they have been fetched the former language stays. */
export function LanguageProvider({ language, direction = directionOf(language), children }: Props): ReactNode {
  const [loaded, setLoaded] = useState<{ language: Language; catalogue: Catalogue }>({ language: "en", catalogue: en });
  useEffect(() => {
    let current = true;
    loadCatalogue(language).then(
      (catalogue) => {
        if (current) setLoaded({ language, catalogue });
      },
      () => undefined, // the network is gone: the former language stays
    );
    return () => {
      current = false;
    };
  }, [language]);
  useEffect(() => {
    document.documentElement.lang = loaded.language;
    document.documentElement.dir = direction;
  }, [loaded.language, direction]);
  const translator = useMemo(() => createTranslator(loaded.language, loaded.catalogue, direction), [loaded, direction]);
  return <TranslatorContext value={translator}>{children}</TranslatorContext>;
}
