// Fetches the counts beside a list after its rows are there; without it a link shows the same counts.
"use strict";
{
    const facets = document.querySelector("[data-facets]");

    const count = () => {
        facets.setAttribute("aria-busy", "true");
        fetch(facets.dataset.facets, { credentials: "same-origin" })
            .then((answer) => {
                if (!answer.ok || answer.redirected) {
                    throw new Error(`facets answered ${answer.status}`);
                }
                return answer.text();
            })
            .then((html) => {
                const fragment = new DOMParser().parseFromString(html, "text/html");
                // What somebody types into the field while the counts come must not be lost.
                if (!facets.contains(document.activeElement)) {
                    facets.replaceChildren(...fragment.body.childNodes);
                }
            })
            .catch(() => {
                // The names stay, and the link that counts them.
            })
            .finally(() => facets.removeAttribute("aria-busy"));
    };

    if (facets) {
        facets.addEventListener("ecp:fresh", count);
        if (facets.dataset.facets) count();
    }
}
