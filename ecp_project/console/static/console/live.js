/* Tells that a list has grown and loads what is new on a click; rows never move by themselves (docs/LIVE.md).
   Without it a page shows what was there when it was loaded. */
"use strict";
{
    const root = document.querySelector("[data-live]");
    const ASK_MS = 2000;
    const SAY_MS = 10000;
    const POLL_MS = 10000;
    const RETRY_MS = 3000;
    const POLLS_BEFORE_STREAM = 6;
    const FAILURES = 2;
    const MOST = 99;
    const ASKS_WHILE_BEHIND = 15;
    const CHOICE = "ecp.live";

    const watch = () => {
        const { stream, poll, log, list, q, fresh } = root.dataset;
        const part = (name) => root.querySelector(`[data-live-${name}]`);
        const pill = part("pill");
        const pause = part("pause");
        const said = part("said");
        const rows = document.querySelector("[data-live-rows]");
        let shown = Number(root.dataset.size);  // what the rows on the page know of
        let known = shown;  // what was heard
        let isPaused = sessionStorage.getItem(CHOICE) === "paused";
        let source = null;
        let next = 0;
        let failures = 0;
        let polls = 0;
        let tag = "";
        let asking = 0;
        let askedAt = 0;
        let asksLeft = 0;
        let saying = 0;
        let saidAt = 0;

        const show = (state) => {
            root.dataset.state = state;
            for (const word of root.querySelectorAll("[data-live-state]")) word.hidden = word.dataset.liveState !== state;
        };
        const address = (base, more) => `${base}?${new URLSearchParams({ log, ...more })}`;
        const say = () => {
            saying ||= setTimeout(() => {
                saying = 0;
                saidAt = Date.now();
                if (!pill.hidden) said.textContent = pill.textContent;
            }, Math.max(0, saidAt + SAY_MS - Date.now()));
        };
        const tell = (count) => {
            const text = root.dataset.new.replace("{n}", count > MOST ? `${MOST}+` : count);
            if (!count || text === pill.textContent) return;
            pill.textContent = text;
            pill.hidden = false;
            say();
        };

        /* How many of the new entries this list would show; only the server knows what fits the query. */
        const ask = () => {
            if (known <= shown) return;
            asking ||= setTimeout(async () => {
                askedAt = Date.now();
                const heard = known;
                let behind = 0;
                try {
                    const answer = await fetch(address(poll, { after: shown, list, q }));
                    if (answer.ok) {
                        const found = await answer.json();
                        behind = found.behind;
                        tell(found.matching);
                    }
                } catch {
                    // the next news asks again
                }
                asking = 0;
                if (known > heard || (behind && asksLeft-- > 0)) ask();
            }, Math.max(0, askedAt + ASK_MS - Date.now()));
        };
        const hear = (size) => {
            if (size <= known) return;
            known = size;
            asksLeft = ASKS_WHILE_BEHIND;
            ask();
        };

        const close = () => {
            clearTimeout(next);
            if (source) source.close();
            source = null;
        };
        const askSize = async () => {
            show("polling");
            try {
                const answer = await fetch(address(poll, { after: known }), {
                    cache: "no-store", headers: tag ? { "If-None-Match": tag } : {},
                });
                if (answer.status === 401) {  // signed out: the next click says so
                    root.hidden = true;
                    return;
                }
                if (answer.status === 200) {
                    tag = answer.headers.get("ETag");
                    hear((await answer.json()).size);
                }
            } catch {
                // asked again below
            }
            if (root.dataset.state !== "polling" || document.hidden) return;
            polls += 1;
            next = setTimeout(polls % POLLS_BEFORE_STREAM ? askSize : listen, POLL_MS);
        };
        const fail = () => {
            close();
            failures += 1;
            if (failures < FAILURES) next = setTimeout(listen, RETRY_MS);
            else askSize();
        };
        const listen = () => {
            close();
            source = new EventSource(address(stream, { after: known }), { withCredentials: true });
            source.addEventListener("hello", (event) => {
                failures = 0;
                show("live");
                hear(JSON.parse(event.data).size);
            });
            source.addEventListener("grown", (event) => hear(JSON.parse(event.data).size));
            source.addEventListener("bye", () => {
                close();
                next = setTimeout(listen, Math.random() * RETRY_MS);  // not all pages at the same moment
            });
            source.addEventListener("error", fail);
        };
        const resume = () => {
            close();
            failures = 0;
            pause.setAttribute("aria-pressed", String(isPaused));
            if (isPaused) show("paused");
            else if (!document.hidden) listen();
        };

        const load = async () => {
            pill.disabled = true;
            let page = null;
            try {
                const answer = await fetch(fresh);
                if (answer.ok && !answer.redirected) {
                    page = new DOMParser().parseFromString(await answer.text(), "text/html");
                }
            } catch {
                // told below
            }
            const found = page && page.querySelector("[data-live-rows]");
            if (!found) {
                location.assign(fresh);
                return;
            }
            const marked = new Set([...rows.querySelectorAll("input:checked")].map((box) => box.value));
            rows.replaceChildren(...found.childNodes);
            for (const box of rows.querySelectorAll("input[type=checkbox]")) box.checked = marked.has(box.value);
            shown = Number(page.querySelector("[data-live]").dataset.size);
            known = Math.max(known, shown);
            pill.hidden = true;
            pill.disabled = false;
            pill.textContent = said.textContent = "";
            rows.querySelector("tbody a")?.focus();
            const [here, there] = [document, page].map((of) => of.querySelector("[data-facets]"));
            if (here && there) {
                here.dataset.facets = there.dataset.facets;
                here.dispatchEvent(new Event("ecp:fresh"));
            }
            ask();
        };

        pill.addEventListener("click", load);
        pause.addEventListener("click", () => {
            isPaused = !isPaused;
            sessionStorage.setItem(CHOICE, isPaused ? "paused" : "");
            resume();
        });
        document.addEventListener("visibilitychange", () => (document.hidden ? close() : resume()));
        window.addEventListener("pagehide", close);
        window.addEventListener("pageshow", (event) => event.persisted && resume());
        root.hidden = false;
        resume();
    };

    if (root) watch();
}
