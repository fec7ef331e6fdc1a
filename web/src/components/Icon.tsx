/** Icons, drawn as strokes in the colour of the text. They carry no meaning of their own: the element around them has the name. */

import type { ReactNode } from "react";

const PATHS = {
  microphone: "M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3ZM6 11a6 6 0 0 0 12 0M12 17v4M9 21h6",
  microphoneOff:
    "M9 9v2a3 3 0 0 0 4.6 2.5M15 10.6V6a3 3 0 0 0-5.8-1M6 11a6 6 0 0 0 9.6 4.8M18 11a6 6 0 0 1-.5 2.4M12 17v4M9 21h6M4 4l16 16",
  camera: "M3 8a2 2 0 0 1 2-2h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2ZM15 10.5l6-3.5v10l-6-3.5",
  cameraOff:
    "M3 8a2 2 0 0 1 1.5-1.9M9 6h4a2 2 0 0 1 2 2v4M15 15.5V16a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V8M17 11.7L21 7v10l-2-1.2M4 4l16 16",
  screen: "M3 6a2 2 0 0 1 2-2h14a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2ZM8 21h8M12 14V8M9 10.5 12 7.5l3 3",
  screenOff: "M3 6a2 2 0 0 1 2-2h14a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2ZM8 21h8M9.5 8l5 5M14.5 8l-5 5",
  grid: "M4 4h7v7H4ZM13 4h7v7h-7ZM4 13h7v7H4ZM13 13h7v7h-7Z",
  speaker: "M3 5h12v14H3ZM17 5h4v4h-4ZM17 10h4v4h-4ZM17 15h4v4h-4Z",
  stats: "M5 20v-6M10 20V9M15 20v-8M20 20V4",
  link: "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7L12 7M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7L12 17",
  settings: "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4M16 7h.01M8 17h.01",
  hangUp:
    "M3.5 14.5c-1-1-.9-2.6.1-3.6C5.9 8.7 8.9 7.5 12 7.5s6.1 1.2 8.4 3.4c1 1 1.1 2.6.1 3.6l-.8.8a1.5 1.5 0 0 1-2 .1l-1.9-1.4a1.5 1.5 0 0 1-.6-1.2v-1.3c-1-.3-2.1-.5-3.2-.5s-2.2.2-3.2.5v1.3c0 .5-.2.9-.6 1.2l-1.9 1.4a1.5 1.5 0 0 1-2-.1Z",
  close: "M6 6l12 12M18 6 6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  copy: "M9 9h10v11H9ZM5 15V4h10",
  warning: "M12 4 2.5 20h19ZM12 10v4M12 17h.01",
  previous: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  skipped: "M6 12h12",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, className = "" }: { readonly name: IconName; readonly className?: string }): ReactNode {
  return (
    <svg className={`icon ${className}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
