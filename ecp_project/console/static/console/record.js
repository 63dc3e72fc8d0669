/* Buttons that need a script show themselves only where there is one: copy a value, copy the address. */
"use strict";

(() => {
    async function copy(button, text) {
        try {
            await navigator.clipboard.writeText(text);
            button.classList.add("copied");
            setTimeout(() => button.classList.remove("copied"), 2000);
        } catch {
            button.hidden = true; // the value itself can still be marked and copied by hand
        }
    }

    for (const button of document.querySelectorAll("[data-copy], [data-copy-address]")) {
        button.hidden = !navigator.clipboard;
        button.addEventListener("click", () => copy(button, button.dataset.copy ?? location.href.split(/[?#]/)[0]));
    }
})();
