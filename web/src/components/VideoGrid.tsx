/** All tiles: a grid with pages, or a large tile with a strip beside it. */

import { useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import type { CallClientLike, ParticipantState } from "../call/model";
import { useElementSize } from "../hooks/use_element_size";
import { useTileOrder } from "../hooks/use_tile_order";
import { useTranslator } from "../messages/language";
import { Icon } from "./Icon";
import { placeTiles } from "./placement";
import { VideoTile } from "./Tile";
import { compose, sameIds, type Layout } from "./visible";

const GAP = 8;

interface Props {
  readonly client: CallClientLike;
  readonly participants: readonly ParticipantState[];
  readonly activeSpeaker: string | null;
  readonly layout: Layout;
}

export function VideoGrid({ client, participants, activeSpeaker, layout }: Props): ReactNode {
  const { t } = useTranslator();
  const [wanted, setWanted] = useState(0);
  const area = useRef<HTMLDivElement>(null);
  const space = useElementSize(area);
  const ordered = useTileOrder(participants, activeSpeaker);
  const speaker = useLastOther(participants, activeSpeaker);
  const scene = useMemo(() => compose(ordered, { layout, page: wanted, speaker }), [ordered, layout, wanted, speaker]);
  useWatched(client, scene.watched);

  const hasStage = scene.stage !== null;
  const placement = useMemo(
    () => placeTiles(hasStage, scene.tiles.length, space, GAP),
    [hasStage, scene.tiles.length, space],
  );
  const byId = useMemo(() => new Map(participants.map((one) => [one.id, one])), [participants]);
  const shown = [
    ...(scene.stage === null ? [] : [{ tile: scene.stage, rect: placement.stage, stage: true }]),
    ...scene.tiles.map((tile, index) => ({ tile, rect: placement.tiles[index], stage: false })),
  ];
  return (
    <section className="grid" aria-label={t("grid.label")}>
      <div className="grid-area" ref={area}>
        <ul className="grid-tiles" data-layout={hasStage ? "stage" : "grid"} data-page={scene.page}>
          {shown.map(({ tile, rect, stage }) => {
            const participant = byId.get(tile.participantId);
            if (participant === undefined || rect === undefined || rect === null) return null;
            return (
              <VideoTile
                key={tile.key}
                client={client}
                participant={participant}
                source={tile.source}
                rect={rect}
                highlighted={tile.source === "camera" && participants.length > 1 && participant.id === activeSpeaker}
                stage={stage}
              />
            );
          })}
        </ul>
      </div>
      {scene.pages > 1 && <Pager page={scene.page} pages={scene.pages} onPage={setWanted} />}
    </section>
  );
}

interface PagerProps {
  readonly page: number;
  readonly pages: number;
  readonly onPage: (page: number) => void;
}

function Pager({ page, pages, onPage }: PagerProps): ReactNode {
  const { t } = useTranslator();
  return (
    <nav className="pager" aria-label={t("grid.page", { page: page + 1, pages })}>
      <button
        type="button"
        className="pager-button"
        aria-label={t("grid.previous")}
        aria-disabled={page === 0}
        onClick={() => onPage(Math.max(0, page - 1))}
      >
        <Icon name="previous" className="icon-directed" />
      </button>
      <span className="pager-text" aria-live="polite">
        {t("grid.page", { page: page + 1, pages })}
      </span>
      <button
        type="button"
        className="pager-button"
        aria-label={t("grid.next")}
        aria-disabled={page === pages - 1}
        onClick={() => onPage(Math.min(pages - 1, page + 1))}
      >
        <Icon name="next" className="icon-directed" />
      </button>
    </nav>
  );
}

/** The active speaker among the others, or the last one while nobody or only oneself speaks. */
function useLastOther(participants: readonly ParticipantState[], activeSpeaker: string | null): string | null {
  const [last, setLast] = useState<string | null>(null);
  const other = participants.find((one) => one.id === activeSpeaker && !one.self)?.id ?? null;
  if (other !== null && other !== last) setLast(other);
  return other ?? last;
}

/** Let the server send the video of those who are on screen; say so only when they have changed. */
function useWatched(client: CallClientLike, watched: ReadonlySet<string>): void {
  const said = useRef<{ client: CallClientLike; watched: ReadonlySet<string> } | null>(null);
  useEffect(() => {
    if (said.current !== null && said.current.client === client && sameIds(said.current.watched, watched)) return;
    said.current = { client, watched };
    client.watch(watched);
  }, [client, watched]);
}
