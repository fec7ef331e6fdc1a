/** Entry of the page: chooses between the call and the check, and hands the browser to a visit. */

import { Suspense, lazy } from "react";
import { createRoot } from "react-dom/client";
import type { LocalMedia } from "./call/model";
import { App, Surroundings } from "./pages/App";
import { openLink } from "./pages/identity";
import { openRemembered } from "./store/remembered_devices";
import { settingsStore } from "./store/settings";
import { Visit } from "./store/visit";
import "./styles/base.css";

const CheckRoute = lazy(async () => ({ default: (await import("./pages/CheckRoute")).CheckRoute }));

function session(): Storage | null {
  try {
    return window.sessionStorage;
  } catch {
    return null; // refused by the browser's settings
  }
}

async function openMedia({ microphone, camera }: { microphone: boolean; camera: boolean }): Promise<LocalMedia> {
  const { audio, video } = await openRemembered({ audio: microphone, video: camera }, settingsStore.get());
  return { audio, video };
}

const exchange = { fetch: window.fetch.bind(window), session: session(), now: () => Date.now() };
const opened = openLink({ location: window.location, history: window.history, session: exchange.session });
const direction = new URLSearchParams(window.location.search).get("dir") === "rtl" ? { direction: "rtl" as const } : {};
const root = document.getElementById("root");
if (root !== null && window.location.pathname.replace(/\/$/, "") === "/check") {
  createRoot(root).render(
    <Surroundings {...direction}>
      <Suspense>
        <CheckRoute identity={opened.identity} exchange={exchange} />
      </Suspense>
    </Surroundings>,
  );
} else if (root !== null) {
  const visit = new Visit(opened, {
    exchange,
    openMedia,
    enter: async (admission, media) => (await import("./pages/enter_call")).enterCall(admission, media),
  });
  window.addEventListener("pagehide", (event) => {
    // A page that the browser only puts aside may come back: then the call has not ended.
    if (!event.persisted) visit.unload();
  });
  createRoot(root).render(<App visit={visit} {...direction} />);
  void visit.begin();
}
