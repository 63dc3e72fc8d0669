/* Fetches the parts that apps add to a page, each by itself, so that a slow one holds up nothing else.
   Without scripts a link draws the page with all its parts at once. */
"use strict";
{
    const failed = document.getElementById("part-failed");

    const showFailure = (place, requestId) => {
        const box = failed.content.cloneNode(true);
        box.querySelector(".hash").textContent = requestId || "";
        place.replaceChildren(box);
    };

    const load = async (place) => {
        place.setAttribute("aria-busy", "true");
        let requestId = "";
        try {
            const answer = await fetch(place.dataset.part, { credentials: "same-origin" });
            requestId = answer.headers.get("X-Request-ID");
            if (!answer.ok || answer.redirected) throw new Error(`the part answered ${answer.status}`);
            const fragment = new DOMParser().parseFromString(await answer.text(), "text/html");
            const isEmpty = fragment.body.childElementCount === 0 && !fragment.body.textContent.trim();
            if (isEmpty) (place.closest("li") || place).remove();
            else place.replaceChildren(...fragment.body.childNodes);
        } catch {
            showFailure(place, requestId);
        }
        place.classList.remove("skeleton");
        place.removeAttribute("aria-busy");
    };

    document.addEventListener("click", (event) => {
        const retry = event.target.closest("[data-retry]");
        const place = retry && retry.closest("[data-part]");
        if (!place) return;
        event.preventDefault();
        load(place);
    });

    const all = [...document.querySelectorAll("[data-part]")];
    Promise.all(all.map(load)).then(() => {
        const calm = document.getElementById("calm");
        if (calm && !document.querySelector(".attention li")) calm.hidden = false;
    });
}
