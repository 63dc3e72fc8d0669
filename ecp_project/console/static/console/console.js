/* Keyboard of the console (CONSOLE section 15). Every page works without it.
   A control names its key in aria-keyshortcuts; a link of the navigation its second key, after g, in data-go. */
"use strict";
{
    const SWITCH = "ecp.keys";
    const FALLBACK = { "[": "#content a[rel=prev]", "]": "#content a[rel=next]", v: '#content a[href*="verify"]' };
    const PATIENCE_MS = 1500;
    let goesUntil = 0;

    const isOn = () => {
        try {
            return localStorage.getItem(SWITCH) !== "off";
        } catch {
            return true;  // no storage: nobody could have switched them off
        }
    };
    const isTyping = (element) =>
        element.isContentEditable || element.matches("select, textarea, input:not([type=checkbox], [type=radio], [type=submit])");

    const rows = () => [...document.querySelectorAll(".log-list tbody tr, #result_list tbody tr")];
    const linkOf = (row) => row.querySelector("th a, td a");
    const step = (by) => {
        const all = rows().filter(linkOf);
        const here = all.indexOf(document.activeElement.closest("tr"));
        const next = all[here < 0 ? (by > 0 ? 0 : all.length - 1) : here + by];
        if (next) linkOf(next).focus();
        return all.length > 0;
    };
    const press = (element) => {
        if (element) element.click();
        return Boolean(element);
    };
    const named = (key) =>
        document.querySelector(`[aria-keyshortcuts~="${CSS.escape(key)}"]`) ||
        (FALLBACK[key] && document.querySelector(FALLBACK[key]));
    const lookUp = () => {
        const field = document.querySelector("[data-lookup], main input[type=search]");
        if (field) field.focus();
        return Boolean(field);
    };
    const close = () => {
        const open = document.activeElement.closest("details[open]");
        if (open) open.open = false;
        else document.activeElement.blur();
        return true;
    };
    const go = (key) => press(document.querySelector(`[data-go="${CSS.escape(key)}"]`));

    const ACTS = {
        "?": () => press(document.getElementById("help-link")),
        "/": lookUp,
        j: () => step(1),
        k: () => step(-1),
        x: () => press(document.activeElement.closest("tr")?.querySelector("input[type=checkbox]")),
        g: () => {
            goesUntil = Date.now() + PATIENCE_MS;
            return true;
        },
    };

    document.addEventListener("keydown", (event) => {
        if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
        if (event.key === "Escape") {
            close();
            return;
        }
        if (event.key.length !== 1 || !isOn() || isTyping(event.target)) return;
        const goes = Date.now() < goesUntil;
        goesUntil = 0;
        const act = ACTS[event.key];
        if (goes ? go(event.key) : act ? act() : press(named(event.key))) event.preventDefault();
    });

    const choice = document.getElementById("keys-on");
    if (choice) {
        choice.checked = isOn();
        choice.closest("[hidden]").hidden = false;
        choice.addEventListener("change", () => localStorage.setItem(SWITCH, choice.checked ? "on" : "off"));
    }
}
