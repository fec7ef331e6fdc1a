/** The whole page: which of its parts is shown. */

import { Suspense, lazy, useEffect, useSyncExternalStore, type ReactNode } from "react";
import { useTranslator } from "../messages/language";
import { LanguageProvider } from "../messages/language";
import { isDark, useSettings } from "../store/settings";
import type { Phase, Visit } from "../store/visit";
import { MessagePage } from "./MessagePage";
import { PreJoin } from "./PreJoin";

const CallStages = lazy(async () => ({ default: (await import("./CallStages")).CallStages }));

interface Props {
  readonly visit: Visit;
  /** Against the direction of the language; for trying the layout out. */
  readonly direction?: "ltr" | "rtl";
}

export function App({ visit, direction }: Props): ReactNode {
  return (
    <Surroundings {...(direction === undefined ? {} : { direction })}>
      <VisitPages visit={visit} />
    </Surroundings>
  );
}

/** Language and appearance, for all pages. */
export function Surroundings({
  direction,
  children,
}: {
  readonly direction?: "ltr" | "rtl";
  readonly children: ReactNode;
}): ReactNode {
  const { language, theme } = useSettings();
  const systemIsDark = useSystemIsDark();
  useEffect(() => {
    document.documentElement.dataset["theme"] = isDark(theme, systemIsDark) ? "dark" : "light";
  }, [theme, systemIsDark]);
  return (
    <LanguageProvider language={language} {...(direction === undefined ? {} : { direction })}>
      {children}
    </LanguageProvider>
  );
}

const DARK = "(prefers-color-scheme: dark)";

function useSystemIsDark(): boolean {
  return useSyncExternalStore(
    (listener) => {
      const query = window.matchMedia(DARK);
      query.addEventListener("change", listener);
      return () => query.removeEventListener("change", listener);
    },
    () => window.matchMedia(DARK).matches,
  );
}

function VisitPages({ visit }: { readonly visit: Visit }): ReactNode {
  const { t } = useTranslator();
  const phase = useSyncExternalStore(visit.subscribe, visit.current);
  const ongoing = useSyncExternalStore(visit.subscribe, visit.ongoingCall);
  switch (phase.kind) {
    case "no-link":
      return <MessagePage name="no-link" title={t("prejoin.noLink")} hint={t("prejoin.noLinkHint")} />;
    case "prejoin":
      return (
        <PreJoin
          suggestedName={visit.suggestedName}
          ongoing={ongoing}
          joining={phase.joining}
          refusal={<Refusal reason={phase.refusal} />}
          onJoin={(name, takeMedia) => void visit.join(name, takeMedia)}
        />
      );
    case "returning":
      return <Joining />;
    case "call":
      return (
        <Suspense fallback={<Joining />}>
          <CallStages
            client={phase.client}
            link={visit.link}
            onBack={() => visit.back()}
            onTakeBack={() => void visit.takeBack()}
          />
        </Suspense>
      );
  }
}

function Joining(): ReactNode {
  const { t } = useTranslator();
  return (
    <MessagePage name="joining" title={t("prejoin.joining")}>
      <span className="spinner spinner-large" aria-hidden="true" />
    </MessagePage>
  );
}

type Reason = Extract<Phase, { kind: "prejoin" }>["refusal"];

const REFUSALS = {
  invalid: { title: "prejoin.invalidLink", hint: "prejoin.invalidLinkHint" },
  unreachable: { title: "prejoin.inviteUnreachable", hint: "prejoin.inviteUnreachableHint" },
  limited: { title: "failure.rate-limited", hint: "failure.rate-limited.remedy" },
  name: { title: "prejoin.name", hint: "prejoin.nameRefused" },
  unknown: { title: "failure.unknown", hint: "failure.unknown.remedy" },
} as const;

function Refusal({ reason }: { readonly reason: Reason }): ReactNode {
  const { t } = useTranslator();
  if (reason === null) return null;
  const { title, hint } = REFUSALS[reason];
  return (
    <div className="notice notice-warning" role="alert" data-refusal={reason}>
      <p>
        <strong>{t(title)}</strong> {t(hint)}
      </p>
    </div>
  );
}
