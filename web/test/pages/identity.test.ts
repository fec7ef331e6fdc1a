import { describe, expect, it } from "vitest";
import { openLink, readFragment } from "../../src/pages/identity";
import { noteInCall, readInCall } from "../../src/pages/in_call";

class MemoryStorage {
  readonly kept = new Map<string, string>();
  getItem(key: string): string | null {
    return this.kept.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.kept.set(key, value);
  }
  removeItem(key: string): void {
    this.kept.delete(key);
  }
}

const REFUSING = {
  getItem: (): string | null => {
    throw new DOMException("refused", "SecurityError");
  },
  setItem: (): void => {
    throw new DOMException("refused", "SecurityError");
  },
  removeItem: (): void => {
    throw new DOMException("refused", "SecurityError");
  },
};

function open(hash: string, session: MemoryStorage | typeof REFUSING | null = new MemoryStorage()) {
  const shown: string[] = [];
  const location = { hash, href: `https://call.example/call?x=1${hash}`, pathname: "/call", search: "?x=1" };
  const history = {
    replaceState: (_data: unknown, _title: string, url?: string | URL | null) => shown.push(String(url)),
  };
  return { ...openLink({ location, history, session }), shown };
}

describe("the fragment of a link", () => {
  it("is an invitation, or a token with its conversation, or nothing", () => {
    expect(readFragment("#invite=a.b.c")).toEqual({ kind: "invite", invite: "a.b.c" });
    expect(readFragment("#token=t&conversation=demo%20room&name=Ada")).toEqual({
      kind: "token",
      token: "t",
      conversationId: "demo room",
      name: "Ada",
    });
    for (const nothing of ["", "#", "#invite=", "#token=t", "#conversation=c", "#token=&conversation=c", "#section"]) {
      expect(readFragment(nothing)).toEqual({ kind: "none" });
    }
  });

  it("is taken out of the address bar, and the link to copy still has it", () => {
    const opened = open("#invite=abc");
    expect(opened.shown).toEqual(["/call?x=1"]);
    expect(opened.link).toBe("https://call.example/call?x=1#invite=abc");
  });

  it("is kept for a reload of the tab", () => {
    const session = new MemoryStorage();
    open("#invite=abc", session);
    const again = open("", session);
    expect(again.identity).toEqual({ kind: "invite", invite: "abc" });
    expect(again.link).toBe("https://call.example/call?x=1#invite=abc");
    expect(again.shown).toEqual([]);
  });

  it("of a new link wins over the one before", () => {
    const session = new MemoryStorage();
    open("#invite=old", session);
    expect(open("#invite=new", session).identity).toEqual({ kind: "invite", invite: "new" });
    expect(open("", session).identity).toEqual({ kind: "invite", invite: "new" });
  });

  it("works where storage is refused or missing", () => {
    expect(open("#invite=abc", REFUSING).identity.kind).toBe("invite");
    expect(open("", REFUSING).identity.kind).toBe("none");
    expect(open("#invite=abc", null).link).toContain("#invite=abc");
  });
});

describe("the note of being in a call", () => {
  it("comes back as it was, and can be taken away", () => {
    const session = new MemoryStorage();
    expect(readInCall(session)).toBeNull();
    noteInCall(session, { name: "Ada", microphone: false, camera: true });
    expect(readInCall(session)).toEqual({ name: "Ada", microphone: false, camera: true });
    noteInCall(session, null);
    expect(readInCall(session)).toBeNull();
  });

  it("that is damaged or refused is no note", () => {
    const session = new MemoryStorage();
    for (const damaged of ["{", "[]", "5", "{}", '{"name":5}']) {
      session.setItem("meeshy.inCall", damaged);
      expect(readInCall(session)).toBeNull();
    }
    noteInCall(REFUSING, { name: "Ada", microphone: true, camera: true });
    expect(readInCall(REFUSING)).toBeNull();
  });
});
